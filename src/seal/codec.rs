//! Bytes in a row: fixed-width little-endian integers and length-prefixed strings.

/// Most bytes that one list or string may announce; keeps a broken length from asking for memory.
const LARGEST: usize = 1 << 24;

/// Why bytes were refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The buffer ends inside a value.
    #[error("ends early")]
    Truncated,
    /// The first bytes are not this version's magic.
    #[error("is not a policy of this version")]
    Magic,
    /// A value is outside its range.
    #[error("{0} is out of range")]
    Range(&'static str),
    /// Bytes follow the last value.
    #[error("{0} bytes follow the end")]
    LeftOver(usize),
}

/// Builds a byte string.
#[derive(Debug, Default)]
pub struct Encoder {
    out: Vec<u8>,
}

impl Encoder {
    /// An empty one.
    pub fn new() -> Encoder {
        Encoder::default()
    }

    /// Bytes as they are.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    /// A boolean, one byte.
    pub fn flag(&mut self, value: bool) {
        self.out.push(u8::from(value));
    }

    /// Four bytes.
    pub fn u32(&mut self, value: u32) {
        self.raw(&value.to_le_bytes());
    }

    /// Eight bytes.
    pub fn u64(&mut self, value: u64) {
        self.raw(&value.to_le_bytes());
    }

    /// A length and so many bytes.
    ///
    /// # Panics
    /// Where `bytes` is longer than 4 GiB, which no policy is.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.u32(u32::try_from(bytes.len()).expect("no string of a policy reaches 4 GiB"));
        self.raw(bytes);
    }

    /// A count and so many values.
    ///
    /// # Panics
    /// Where there are more than 2³² of them.
    pub fn list<T>(&mut self, values: &[T], mut each: impl FnMut(&mut Encoder, &T)) {
        self.u32(u32::try_from(values.len()).expect("no list of a policy reaches 2^32 entries"));
        for value in values {
            each(self, value);
        }
    }

    /// What was built.
    pub fn finish(self) -> Vec<u8> {
        self.out
    }
}

/// Reads a byte string from its start.
#[derive(Debug)]
pub struct Decoder<'a> {
    rest: &'a [u8],
}

impl<'a> Decoder<'a> {
    /// Reads `bytes`.
    pub fn new(bytes: &'a [u8]) -> Decoder<'a> {
        Decoder { rest: bytes }
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self
            .rest
            .split_at_checked(count)
            .ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let taken = self.take(N)?;
        Ok(taken.try_into().expect("take returns as many as asked"))
    }

    /// Exactly these bytes.
    ///
    /// # Errors
    /// [`DecodeError::Magic`] for others.
    pub fn expect(&mut self, bytes: &[u8]) -> Result<(), DecodeError> {
        if self.take(bytes.len())? == bytes {
            Ok(())
        } else {
            Err(DecodeError::Magic)
        }
    }

    /// A boolean.
    ///
    /// # Errors
    /// [`DecodeError::Range`] for a byte other than 0 and 1.
    pub fn flag(&mut self) -> Result<bool, DecodeError> {
        match self.array::<1>()?[0] {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(DecodeError::Range("flag")),
        }
    }

    /// Four bytes.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`].
    pub fn u32(&mut self) -> Result<u32, DecodeError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    /// Eight bytes.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`].
    pub fn u64(&mut self) -> Result<u64, DecodeError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    fn length(&mut self) -> Result<usize, DecodeError> {
        let length = self.u32()? as usize;
        if length > LARGEST {
            return Err(DecodeError::Range("length"));
        }
        Ok(length)
    }

    /// A length and so many bytes.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`], [`DecodeError::Range`] above 16 MiB.
    pub fn bytes(&mut self) -> Result<&'a [u8], DecodeError> {
        let length = self.length()?;
        self.take(length)
    }

    /// A count and so many values.
    ///
    /// # Errors
    /// Those of `each`, [`DecodeError::Range`] above 2²⁴ values.
    pub fn list<T>(
        &mut self,
        mut each: impl FnMut(&mut Decoder<'a>) -> Result<T, DecodeError>,
    ) -> Result<Vec<T>, DecodeError> {
        let count = self.length()?;
        // Not reserved ahead: a broken count then costs no more than the bytes that are there.
        let mut values = Vec::new();
        for _ in 0..count {
            values.push(each(self)?);
        }
        Ok(values)
    }

    /// Nothing follows.
    ///
    /// # Errors
    /// [`DecodeError::LeftOver`].
    pub fn end(&self) -> Result<(), DecodeError> {
        match self.rest.len() {
            0 => Ok(()),
            count => Err(DecodeError::LeftOver(count)),
        }
    }
}
