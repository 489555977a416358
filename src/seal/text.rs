//! Paths of a policy as JSON's strings. A profile is UTF-8, so each is.

/// One path.
pub mod one {
    use serde::ser::Error as _;
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(path: &[u8], out: S) -> Result<S::Ok, S::Error> {
        out.serialize_str(std::str::from_utf8(path).map_err(S::Error::custom)?)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(input: D) -> Result<Vec<u8>, D::Error> {
        Ok(String::deserialize(input)?.into_bytes())
    }
}

/// Several.
pub mod all {
    use serde::ser::Error as _;
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(paths: &[Vec<u8>], out: S) -> Result<S::Ok, S::Error> {
        let text = |path: &Vec<u8>| String::from_utf8(path.clone()).map_err(S::Error::custom);
        out.collect_seq(paths.iter().map(text).collect::<Result<Vec<_>, _>>()?)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(input: D) -> Result<Vec<Vec<u8>>, D::Error> {
        let paths = Vec::<String>::deserialize(input)?;
        Ok(paths.into_iter().map(String::into_bytes).collect())
    }
}
