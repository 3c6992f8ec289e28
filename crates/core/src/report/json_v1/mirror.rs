//! Carrying values between the program's types and those of the file, both ways.

use crate::backend::Scheme;
use crate::digest::Digest;
use crate::float_serde;
use crate::items::{InputManifest, ItemId, Kind, OptOut, Origin};
use crate::metric::follow_up::{FollowUpEvidence, Numerics};
use crate::metric::membership::Membership;
use crate::metric::recall::Screened;
use crate::policy::decision::{Action, Outcome};
use crate::policy::{Level, Statistic};
use crate::policy::{Matching, Tail};
use crate::run::follow_up::FollowUp;
use crate::run::follow_up::SchemeLogP;
use crate::run::{ModelIdentity, Settings};
use crate::window::{Form, WindowId};
use crate::window::{Placement, TemplateId};
use jiff::civil::Date;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Cow;

/// A type of the file that stands for the program's type `T`.
pub(super) trait Mirror<T> {
    fn mirror(value: &T) -> Self;
    fn back(self) -> T;
}

impl<A: Mirror<B>, B> Mirror<Vec<B>> for Vec<A> {
    fn mirror(value: &Vec<B>) -> Self {
        value.iter().map(A::mirror).collect()
    }

    fn back(self) -> Vec<B> {
        self.into_iter().map(A::back).collect()
    }
}

impl<A: Mirror<B>, B> Mirror<Option<B>> for Option<A> {
    fn mirror(value: &Option<B>) -> Self {
        value.as_ref().map(A::mirror)
    }

    fn back(self) -> Option<B> {
        self.map(A::back)
    }
}

/// Types that are written as they are.
macro_rules! as_they_are {
    ($($type:ty),+ $(,)?) => {$(
        impl Mirror<$type> for $type {
            fn mirror(value: &$type) -> Self {
                value.clone()
            }

            fn back(self) -> $type {
                self
            }
        }
    )+};
}

as_they_are!(
    bool,
    u32,
    u64,
    String,
    Digest,
    ItemId,
    WindowId,
    Kind,
    Form,
    Placement,
    TemplateId,
    Level,
    Statistic,
    Outcome,
    Action,
    OptOut,
    Origin,
    ModelIdentity,
    InputManifest,
    Settings,
    Scheme,
    SchemeLogP,
    Membership,
    FollowUp,
    FollowUpEvidence,
    Numerics,
    Screened,
    Matching,
    Tail,
);

/// Declares a struct of the file whose fields are those of the program's struct, and carries them over.
macro_rules! mirrored {
    ($($(#[$meta:meta])* $name:ident = $of:ident { $($(#[$field_meta:meta])* $field:ident: $type:ty,)+ })+) => {$(
        $(#[$meta])*
        #[derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
        pub(super) struct $name {
            $($(#[$field_meta])* $field: $type,)+
        }

        impl Mirror<$of> for $name {
            fn mirror(value: &$of) -> Self {
                Self { $($field: Mirror::mirror(&value.$field),)+ }
            }

            fn back(self) -> $of {
                $of { $($field: Mirror::back(self.$field),)+ }
            }
        }
    )+};
}
pub(super) use mirrored;

/// A number that may be infinite.
#[derive(Clone, Copy, Default)]
pub(super) struct Real(f64);

impl Mirror<f64> for Real {
    fn mirror(value: &f64) -> Self {
        Self(*value)
    }

    fn back(self) -> f64 {
        self.0
    }
}

impl Serialize for Real {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        float_serde::serialize(&self.0, serializer)
    }
}

impl<'de> Deserialize<'de> for Real {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        float_serde::deserialize(deserializer).map(Self)
    }
}

impl JsonSchema for Real {
    fn schema_name() -> Cow<'static, str> {
        "Real".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        float_serde::schema(generator)
    }
}

/// A calendar day, `2027-01-31`.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
#[derive(Clone)]
pub(super) struct Day(Date);

impl TryFrom<String> for Day {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
            .map(Self)
            .map_err(|_| format!("{text:?} isn't a date such as \"2027-01-31\""))
    }
}

impl From<Day> for String {
    fn from(day: Day) -> Self {
        day.0.to_string()
    }
}

impl Mirror<Date> for Day {
    fn mirror(value: &Date) -> Self {
        Self(*value)
    }

    fn back(self) -> Date {
        self.0
    }
}
