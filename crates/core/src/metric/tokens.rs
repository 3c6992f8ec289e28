//! A window token by token: what a heat map shows.

use crate::backend::TokenScores;
use crate::float_serde::Real;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The scores of every suffix token of one window, in order; all lists are of one length. Holds no text and no token ids.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TokenEvidence {
    /// Natural log of the true token's probability, plain sampling at T = 1; at most 0 but for rounding.
    #[serde(with = "Real")]
    #[schemars(with = "Vec<Real>")]
    pub logprob: Vec<f32>,
    /// How many tokens of the vocabulary are likelier than the true one; 0 = the model's first choice.
    pub rank: Vec<u32>,
    /// Log-probability of the true token less that of the best other one, in nats; negative where it isn't the first choice.
    #[serde(with = "Real")]
    #[schemars(with = "Vec<Real>")]
    pub margin: Vec<f32>,
}

/// One suffix token.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Token {
    /// As [`TokenEvidence::logprob`].
    pub logprob: f32,
    /// As [`TokenEvidence::rank`].
    pub rank: u32,
    /// As [`TokenEvidence::margin`].
    pub margin: f32,
}

impl TokenEvidence {
    /// Of a window that was scored to its end, as it was scored first: a window that was scored again alone in f32
    /// ([`crate::run::follow_up::Rescored`]) differs in the last digits.
    pub fn of(scores: &TokenScores) -> Self {
        Self {
            logprob: scores.logprob.clone(),
            rank: scores.rank.clone(),
            margin: scores.margin.clone(),
        }
    }

    /// The tokens in order. Where lists differ in length, as in a file that was tampered with, those that all of them have.
    pub fn iter(&self) -> impl Iterator<Item = Token> + '_ {
        let lists = self.logprob.iter().zip(&self.rank).zip(&self.margin);
        lists.map(|((&logprob, &rank), &margin)| Token {
            logprob,
            rank,
            margin,
        })
    }
}

impl Token {
    /// How likely the token is, from 0 (below one in ten thousand, or not a number) to 5 (nine in ten or more). The steps are
    /// those of [`STEPS`].
    pub fn heat(&self) -> usize {
        // NaN reaches no step.
        STEPS
            .iter()
            .filter(|step| f64::from(self.logprob) >= f64::ln(**step))
            .count()
    }
}

/// Probabilities at which [`Token::heat`] rises.
pub const STEPS: [f64; 5] = [0.0001, 0.01, 0.1, 0.5, 0.9];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heat_rises_with_probability_and_what_is_no_number_is_cold() {
        let cases = [
            (0.0, 5),
            (-0.1, 5),
            (-0.2, 4),
            (-0.7, 3),
            (-2.4, 2),
            (-5.0, 1),
            (-9.3, 0),
            (f32::NEG_INFINITY, 0),
        ];
        for (logprob, heat) in cases.into_iter().chain([(f32::NAN, 0)]) {
            assert_eq!(
                Token {
                    logprob,
                    rank: 0,
                    margin: 0.0
                }
                .heat(),
                heat,
                "{logprob}"
            );
        }
    }

    #[test]
    fn lists_of_unequal_length_give_the_tokens_that_all_of_them_have() {
        let evidence = TokenEvidence {
            logprob: vec![-1.0, -2.0],
            rank: vec![0],
            margin: vec![0.5, 0.25, 1.0],
        };
        assert_eq!(
            evidence.iter().collect::<Vec<_>>(),
            [Token {
                logprob: -1.0,
                rank: 0,
                margin: 0.5
            }]
        );
    }
}
