//! The hub cache on disk, in the layout that other tools share, and the checks of its blobs.
//!
//! ```text
//! <cache>/models--org--name/refs/<revision>               the commit it resolved to
//!                           blobs/<id>                    the content
//!                           snapshots/<commit>/<file>     a link to the blob
//! <cache>/.locks/models--org--name/<id>.lock
//! ```
//!
//! A commit identifies a file's content by the name of a git object: the SHA-1 of the content, or
//! of a pointer that contains the SHA-256 and size of a large file. So every download can be
//! checked against its commit.

use byrote_core::digest::Digest;
use byrote_core::registry::is_inside;
use hf_hub::Repo;
use sha1::{Digest as _, Sha1};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// The properties of one file according to a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Announced {
    /// Name in the repository.
    pub(super) name: String,
    /// Size of the content in bytes.
    pub(super) size: u64,
    /// Name of its git object: of the content, or of the pointer if `lfs` is set.
    pub(super) object: String,
    /// True if git contains only a pointer to the content.
    pub(super) lfs: bool,
    /// SHA-256 of the content, if the hub's listing contains it.
    pub(super) sha256: Option<Digest>,
}

impl Announced {
    /// The cache's name for this content, if `content` of `self.size` bytes matches the
    /// announcement.
    fn accepts(&self, content: &Digest) -> Option<String> {
        let pointed = self.lfs && pointer_object(content, self.size) == self.object;
        let given = self.sha256.as_ref().is_none_or(|sha256| sha256 == content);
        (pointed && given).then(|| content.as_str().to_owned())
    }

    /// Reads `file` and returns the cache's name for it.
    ///
    /// # Errors
    /// The inner error says how the file differs from the announcement.
    pub(super) fn check(&self, file: &Path) -> io::Result<Result<String, String>> {
        let size = file.metadata()?.len();
        if size != self.size {
            return Ok(Err(format!("{} bytes expected, {size} found", self.size)));
        }
        if self.lfs {
            let found = Digest::of_file(file)?;
            let expected = match &self.sha256 {
                Some(sha256) => format!("SHA-256 {sha256} expected, {found} found"),
                None => format!(
                    "its SHA-256 is {found}, but the commit's pointer says {}",
                    self.object
                ),
            };
            return Ok(self.accepts(&found).ok_or(expected));
        }
        let found = object_of_file(file, size)?;
        let differs = format!("git object {} expected, {found} found", self.object);
        Ok(if found == self.object {
            Ok(found)
        } else {
            Err(differs)
        })
    }
}

/// One repository in the cache.
#[derive(Debug)]
pub(super) struct RepoCache {
    root: PathBuf,
    locks: PathBuf,
}

impl RepoCache {
    pub(super) fn new(cache_dir: &Path, repo: &str) -> Self {
        let name = Repo::model(repo.to_owned()).folder_name();
        Self {
            root: cache_dir.join(&name),
            locks: cache_dir.join(".locks").join(&name),
        }
    }

    /// The folder with the links to a commit's files.
    pub(super) fn snapshot(&self, commit: &str) -> PathBuf {
        self.root.join("snapshots").join(commit)
    }

    /// The commit that `revision` resolved to when it was last fetched.
    pub(super) fn commit_of(&self, revision: &str) -> Option<String> {
        let text = fs::read_to_string(self.root.join("refs").join(revision)).ok()?;
        Some(text.trim().to_owned())
    }

    /// Saves the commit that `revision` resolves to.
    pub(super) fn keep_commit(&self, revision: &str, commit: &str) -> io::Result<()> {
        let path = self.root.join("refs").join(revision);
        let folder = parent(&path)?;
        fs::create_dir_all(folder)?;
        let part = tempfile::NamedTempFile::new_in(folder)?;
        fs::write(part.path(), commit)?;
        part.persist(&path)?;
        Ok(())
    }

    /// Locks one blob against other processes until the returned file is dropped.
    pub(super) fn lock(&self, id: &str) -> io::Result<File> {
        fs::create_dir_all(&self.locks)?;
        let file = File::create(self.locks.join(format!("{id}.lock")))?;
        file.lock()?;
        Ok(file)
    }

    /// The path of an incomplete download.
    pub(super) fn part(&self, file: &Announced) -> io::Result<PathBuf> {
        let blobs = self.root.join("blobs");
        fs::create_dir_all(&blobs)?;
        Ok(blobs.join(format!("{}.incomplete", file.object)))
    }

    /// The name of a blob with the announced content, from another commit or another tool. This
    /// function trusts the names of blobs; every read checks them against the content.
    pub(super) fn known_blob(&self, file: &Announced) -> Option<String> {
        let blobs = self.root.join("blobs");
        let has_size = |path: &Path| {
            path.metadata()
                .is_ok_and(|data| data.is_file() && data.len() == file.size)
        };
        if !file.lfs {
            return has_size(&blobs.join(&file.object)).then(|| file.object.clone());
        }
        let entries = fs::read_dir(&blobs)
            .ok()?
            .flatten()
            .filter(|entry| has_size(&entry.path()));
        entries
            .filter_map(|entry| Digest::parse(entry.file_name().to_str()?))
            .find_map(|name| file.accepts(&name))
    }

    /// Turns a checked download into the blob `id`.
    pub(super) fn keep_blob(&self, part: &Path, id: &str) -> io::Result<()> {
        File::open(part)?.sync_all()?;
        fs::rename(part, self.root.join("blobs").join(id))
    }

    /// Links the blob `id` as the file `name` of a commit.
    pub(super) fn link(&self, commit: &str, name: &str, id: &str) -> io::Result<()> {
        if !is_inside(name) {
            return Err(io::Error::other(format!(
                "the hub names a file {name:?}, which is outside its repository"
            )));
        }
        let path = self.snapshot(commit).join(name);
        let folder = parent(&path)?;
        fs::create_dir_all(folder)?;
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        #[cfg(unix)]
        {
            let up = "../".repeat(2 + name.matches('/').count());
            std::os::unix::fs::symlink(format!("{up}blobs/{id}"), &path)
        }
        #[cfg(not(unix))]
        {
            // Links need special rights there.
            fs::copy(self.root.join("blobs").join(id), &path).map(drop)
        }
    }
}

fn parent(path: &Path) -> io::Result<&Path> {
    path.parent()
        .ok_or_else(|| io::Error::other(format!("{} has no folder", path.display())))
}

/// The name of the git object that points to a large file (the pointer format of Git LFS, version
/// 1).
fn pointer_object(content: &Digest, size: u64) -> String {
    let pointer =
        format!("version https://git-lfs.github.com/spec/v1\noid sha256:{content}\nsize {size}\n");
    let mut hasher = object_hasher(pointer.len() as u64);
    hasher.update(&pointer);
    hex(hasher)
}

/// The name of the git object with the content of `file`.
fn object_of_file(file: &Path, size: u64) -> io::Result<String> {
    let mut hasher = object_hasher(size);
    let mut file = File::open(file)?;
    let mut block = vec![0u8; 1 << 20];
    loop {
        match file.read(&mut block)? {
            0 => return Ok(hex(hasher)),
            n => hasher.update(&block[..n]),
        }
    }
}

fn object_hasher(size: u64) -> Sha1 {
    Sha1::new_with_prefix(format!("blob {size}\0"))
}

fn hex(hasher: Sha1) -> String {
    hasher
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn git_object_names_equal_those_of_git() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("x");
        fs::write(&file, "hello\n").unwrap();
        // printf 'hello\n' | git hash-object --stdin
        assert_eq!(
            object_of_file(&file, 6).unwrap(),
            "ce013625030ba8dba906f756967f9e9ca394464a"
        );
        // The pointer that `git lfs pointer` prints for this file, through git hash-object.
        assert_eq!(
            pointer_object(&Digest::of_bytes(b"hello\n"), 6),
            "fa61e1ef71c9908c0926776a4aa3504b3a27f159"
        );
    }

    #[test]
    fn only_announced_content_is_accepted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        let good = Digest::of_bytes(b"hello\n");
        let plain = Announced {
            name: "x".to_owned(),
            size: 6,
            object: "ce013625030ba8dba906f756967f9e9ca394464a".to_owned(),
            lfs: false,
            sha256: None,
        };
        let lfs = Announced {
            object: pointer_object(&good, 6),
            lfs: true,
            ..plain.clone()
        };
        let lfs_with_digest = Announced {
            sha256: Some(good.clone()),
            ..lfs.clone()
        };
        let wrong_pointer = Announced {
            object: plain.object.clone(),
            ..lfs_with_digest.clone()
        };
        for (text, file, kept_as) in [
            ("hello\n", &plain, Some(plain.object.as_str())),
            ("hellp\n", &plain, None),
            ("hello", &plain, None),
            ("hello\n", &lfs, Some(good.as_str())),
            ("hellp\n", &lfs, None),
            ("hello\n", &lfs_with_digest, Some(good.as_str())),
            ("hellp\n", &lfs_with_digest, None),
            ("hello\n", &wrong_pointer, None),
        ] {
            fs::write(&path, text).unwrap();
            assert_eq!(
                file.check(&path).unwrap().ok().as_deref(),
                kept_as,
                "{text:?} as {file:?}"
            );
        }
    }
}
