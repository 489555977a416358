//! The octal escapes (`\040`) in which the kernel writes blanks, tabs, line ends and backslashes of names
//! (`mangle_path` of fs/seq_file.c; proc_pid_mountinfo(5)).

/// The name that a field stands for; none where a backslash begins no such escape, which the kernel never writes.
#[must_use]
pub fn undone(field: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        let (digits, tail) = rest.split_first_chunk::<3>()?;
        let mut value = 0_u8;
        for digit in digits {
            let digit = digit.checked_sub(b'0').filter(|digit| *digit < 8)?;
            value = value.checked_mul(8)?.checked_add(digit)?;
        }
        bytes.push(value);
        rest = tail;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_undone_and_what_is_none_is_told() {
        assert_eq!(undone(br"/a\040b\134").as_deref(), Some(&br"/a b\"[..]));
        assert_eq!(undone(br"\011\012\377").as_deref(), Some(&b"\t\n\xff"[..]));
        assert_eq!(undone(b"").as_deref(), Some(&b""[..]));
        for field in [
            &br"/a\04"[..],
            br"/a\",
            br"/a\09b",
            br"/a\+12",
            br"/a\777",
            br"/a\x41",
        ] {
            assert_eq!(undone(field), None, "{field:?}");
        }
    }
}
