//! `lint:` of a profile: what its author has an answer to. Read strictly: a code that does not exist
//! would hide nothing.

use serde::Deserialize;
use serde::de::{self, Deserializer};

use super::lint::code;
use super::origin::{At, Origin, Why};

/// `lint` as written.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Remarks {
    /// Findings that are not told, each with a reason.
    #[serde(default)]
    pub ignore: Vec<Ignored>,
}

/// One code that is not told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ignored {
    /// Such as `M303`.
    pub code: &'static str,
    /// Where it is written, and why.
    pub origin: Origin,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    code: String,
    why: Why,
}

impl<'de> Deserialize<'de> for Ignored {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        /// Judged where it is read, so that an error has its place.
        struct Judged(&'static str, Why);
        impl<'de> Deserialize<'de> for Judged {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let fields = Fields::deserialize(deserializer)?;
                let known = code(&fields.code).filter(|known| known.id != "M001");
                known
                    .map(|known| Judged(known.id, fields.why))
                    .ok_or_else(|| {
                        de::Error::custom(format!(
                            "no finding has the code `{}`\nwrite one that `mantlet lint` printed, such as M303",
                            fields.code
                        ))
                    })
            }
        }
        let At {
            value: Judged(code, why),
            origin,
        } = At::deserialize(deserializer)?;
        Ok(Ignored {
            code,
            origin: origin.because(Some(why)),
        })
    }
}
