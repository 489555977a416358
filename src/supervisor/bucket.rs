//! A token bucket: how many lines a container may cause at once, and how fast that fills again.

use std::time::Instant;

/// One kind of lines.
pub(super) struct Bucket {
    tokens: f64,
    burst: f64,
    per_second: f64,
    filled: Instant,
}

impl Bucket {
    /// Full.
    pub(super) fn new(burst: f64, per_second: f64) -> Bucket {
        Bucket {
            tokens: burst,
            burst,
            per_second,
            filled: Instant::now(),
        }
    }

    /// Whether one more line may be written; it is taken then.
    pub(super) fn admits(&mut self) -> bool {
        let now = Instant::now();
        let gained = now.duration_since(self.filled).as_secs_f64() * self.per_second;
        self.filled = now;
        self.tokens = (self.tokens + gained).min(self.burst);
        let admitted = self.tokens >= 1.0;
        if admitted {
            self.tokens -= 1.0;
        }
        admitted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_admitted_and_what_follows_waits_for_the_next_token() {
        let mut bucket = Bucket::new(3.0, 0.001);
        let admitted: Vec<bool> = (0..5).map(|_| bucket.admits()).collect();
        assert_eq!(admitted, [true, true, true, false, false]);
    }
}
