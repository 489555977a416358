//! Packets between init and the supervisor: at most one meaning each, and one spelling of it.

use mantlet::channel::{Hello, Outcome, Welcome};

pub fn check(data: &[u8]) {
    let hello = Hello::decode(data);
    let welcome = Welcome::decode(data);
    let outcome = Outcome::decode(data);
    let meanings = [hello.is_ok(), welcome.is_ok(), outcome.is_ok()];
    assert!(meanings.into_iter().filter(|is| *is).count() <= 1);
    if let Ok(hello) = hello {
        assert_eq!(hello.encode(), data);
    }
    if let Ok(welcome) = welcome {
        assert_eq!(welcome.encode(), data);
    }
    match outcome {
        Ok(Outcome::Attest(attest)) => assert_eq!(Outcome::Attest(attest).encode(), data),
        // Its text is for people: what is no UTF-8 in it is replaced, once and for all.
        Ok(failure) => assert_eq!(Outcome::decode(&failure.encode()), Ok(failure)),
        Err(_) => {}
    }
}
