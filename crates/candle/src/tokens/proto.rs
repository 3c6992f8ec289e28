//! Reads the fields of SentencePiece's `tokenizer.model` that affect ids, from its protobuf message
//! `ModelProto`. Every length is checked, and other fields are skipped.

/// Kinds of pieces, with the same numbers in GGUF.
pub(super) const NORMAL: i32 = 1;
pub(super) const CONTROL: i32 = 3;
pub(super) const USER_DEFINED: i32 = 4;
pub(super) const UNUSED: i32 = 5;
/// Kinds of models.
pub(super) const UNIGRAM: u64 = 1;
pub(super) const BPE: u64 = 2;

#[derive(Debug, PartialEq)]
pub(super) struct Piece {
    pub(super) text: String,
    pub(super) score: f32,
    pub(super) kind: i32,
}

#[derive(Debug, PartialEq)]
pub(super) struct Model {
    pub(super) pieces: Vec<Piece>,
    /// `trainer_spec.model_type`.
    pub(super) kind: u64,
    /// True if `normalizer_spec.precompiled_charsmap` isn't empty.
    pub(super) normalizes: bool,
    /// `normalizer_spec.add_dummy_prefix`: SentencePiece inserts a space before text.
    pub(super) add_dummy_prefix: bool,
    pub(super) bos: Option<u32>,
    pub(super) unk: Option<u32>,
}

/// The value of a field.
enum Field<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    Float(f32),
}

/// Iterates over the fields of a message.
struct Fields<'a>(&'a [u8]);

impl Model {
    /// Reads a `tokenizer.model`. The error says what is wrong with it.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, String> {
        let mut model = Self {
            pieces: Vec::new(),
            kind: UNIGRAM,
            normalizes: false,
            add_dummy_prefix: true,
            bos: Some(1),
            unk: Some(0),
        };
        let mut fields = Fields(bytes);
        while let Some((number, value)) = fields.next()? {
            match (number, value) {
                (1, Field::Bytes(piece)) => model.pieces.push(Piece::read(piece)?),
                (2, Field::Bytes(trainer)) => model.read_trainer(trainer)?,
                (3, Field::Bytes(normalizer)) => model.read_normalizer(normalizer)?,
                (1..=3, _) => return Err("it isn't a SentencePiece model".to_owned()),
                _ => {}
            }
        }
        if model.pieces.is_empty() {
            return Err("it has no pieces, so it isn't a SentencePiece model".to_owned());
        }
        // Ids of unused roles may be out of range.
        let inside = |id: Option<u32>| id.filter(|&id| (id as usize) < model.pieces.len());
        (model.bos, model.unk) = (inside(model.bos), inside(model.unk));
        Ok(model)
    }

    fn read_trainer(&mut self, bytes: &[u8]) -> Result<(), String> {
        let mut fields = Fields(bytes);
        while let Some((number, value)) = fields.next()? {
            match (number, value) {
                (3, Field::Number(kind)) => self.kind = kind,
                // Negative for an unused role, as 64-bit two's complement.
                (40, Field::Number(id)) => self.unk = u32::try_from(id).ok(),
                (41, Field::Number(id)) => self.bos = u32::try_from(id).ok(),
                _ => {}
            }
        }
        Ok(())
    }

    fn read_normalizer(&mut self, bytes: &[u8]) -> Result<(), String> {
        let mut fields = Fields(bytes);
        while let Some((number, value)) = fields.next()? {
            match (number, value) {
                (2, Field::Bytes(map)) => self.normalizes = !map.is_empty(),
                (3, Field::Number(on)) => self.add_dummy_prefix = on != 0,
                _ => {}
            }
        }
        Ok(())
    }
}

impl Piece {
    fn read(bytes: &[u8]) -> Result<Self, String> {
        let mut piece = Self {
            text: String::new(),
            score: 0.0,
            kind: NORMAL,
        };
        let mut fields = Fields(bytes);
        while let Some((number, value)) = fields.next()? {
            match (number, value) {
                (1, Field::Bytes(text)) => {
                    piece.text = String::from_utf8(text.to_vec())
                        .map_err(|_| "a piece isn't UTF-8".to_owned())?;
                }
                (2, Field::Float(score)) => piece.score = score,
                (3, Field::Number(kind)) => {
                    piece.kind =
                        i32::try_from(kind).map_err(|_| format!("a piece of kind {kind}"))?
                }
                _ => {}
            }
        }
        Ok(piece)
    }
}

impl<'a> Fields<'a> {
    /// The next field's number and value; `None` at the end.
    fn next(&mut self) -> Result<Option<(u64, Field<'a>)>, String> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let key = self.varint()?;
        let value = match key & 7 {
            0 => Field::Number(self.varint()?),
            1 => Field::Bytes(self.take(8)?),
            2 => {
                let len = self.varint()?;
                Field::Bytes(self.take(usize::try_from(len).unwrap_or(usize::MAX))?)
            }
            5 => {
                let bytes = self.take(4)?;
                Field::Float(bytes.try_into().map(f32::from_le_bytes).unwrap_or_default())
            }
            kind => {
                return Err(format!(
                    "it isn't a SentencePiece model: a field of wire type {kind}"
                ));
            }
        };
        Ok(Some((key >> 3, value)))
    }

    fn varint(&mut self) -> Result<u64, String> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?[0];
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err("a number in it is longer than ten bytes".to_owned())
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], String> {
        let (taken, rest) = self
            .0
            .split_at_checked(len)
            .ok_or("it ends within a field")?;
        self.0 = rest;
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `[(piece, score, kind)]` and the two specs, as protobuf.
    fn message(pieces: &[(&str, f32, u8)], trainer: &[u8], normalizer: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        for (text, score, kind) in pieces {
            let mut piece = vec![0x0a, text.len() as u8];
            piece.extend(text.bytes());
            piece.push(0x15);
            piece.extend(score.to_le_bytes());
            piece.extend([0x18, *kind]);
            out.extend([0x0a, piece.len() as u8]);
            out.extend(piece);
        }
        for (key, spec) in [(0x12, trainer), (0x1a, normalizer)] {
            out.extend([key, spec.len() as u8]);
            out.extend(spec);
        }
        out
    }

    #[test]
    fn known_fields_are_read_and_unknown_ones_skipped() {
        let none = [0xff; 9];
        let mut trainer = vec![0x18, 2, 0xc8, 0x02];
        trainer.extend(none);
        trainer.extend([1, 0x20, 7]);
        let bytes = message(
            &[("<unk>", 0.0, 2), ("a", -1.5, 1)],
            &trainer,
            &[0x18, 0, 0x12, 1, 9, 0x0a, 1, b'x'],
        );
        let model = Model::read(&bytes).unwrap();
        assert_eq!(
            (model.kind, model.normalizes, model.add_dummy_prefix),
            (BPE, true, false)
        );
        assert_eq!((model.bos, model.unk), (None, Some(0)));
        assert_eq!(
            model.pieces[1],
            Piece {
                text: "a".to_owned(),
                score: -1.5,
                kind: NORMAL
            }
        );
    }

    #[test]
    fn a_model_that_is_cut_or_changed_anywhere_is_an_error() {
        let bytes = message(&[("<unk>", 0.0, 2), ("a", -1.5, 1)], &[0x18, 2], &[0x18, 0]);
        for (bad, expected) in [
            (&b""[..], "no pieces"),
            (b"\x0b", "wire type 3"),
            (
                b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
                "ends within",
            ),
            (
                b"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80",
                "longer than ten",
            ),
            (b"\x0a\x03\x0a\x01\xff", "UTF-8"),
            (b"\x08\x01", "isn't a SentencePiece"),
        ] {
            assert!(Model::read(bad).unwrap_err().contains(expected), "{bad:?}");
        }
        for end in 0..bytes.len() {
            let _ = Model::read(&bytes[..end]);
            for flip in [0x01, 0x80, 0xff] {
                let mut changed = bytes.clone();
                changed[end] ^= flip;
                let _ = Model::read(&changed);
            }
        }
    }
}
