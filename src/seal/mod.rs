//! The policy as init reads it: a flat, versioned byte string, read without serde so
//! that init stays small.
//!
//! Only the record of a container knows it in JSON too: layers in mode `audit`, which init never enters.
//!
//! The front door encodes it once per container into a sealed memfd, which the supervisor keeps and
//! lends to every exec session: nothing is compiled on the probe path. What cannot be decoded whole
//! is refused: there is no partial policy.

/// Everything that init applies, in the order in which it applies it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Whether a supervisor holds the other end of the channel and gives the word.
    pub supervised: bool,
    /// Landlock domains, outermost first. Empty only where the profile accepts a kernel without
    /// Landlock; elsewhere the first one is at least the anchor. At most 16 (landlock(7)).
    pub layers: Vec<Layer>,
    /// Lowered last before the filter. Only limits too low for the runtime or init to live under.
    pub rlimits: Vec<Rlimit>,
    /// Upper bounds, for exec sessions too: what is higher is lowered, nothing is raised.
    pub bounds: Vec<Rlimit>,
    /// The workload-exact seccomp filter.
    pub filter: Filter,
}

/// One Landlock domain. Rights are the kernel's bits (linux/landlock.h); a bit that is not handled
/// is allowed, so the plan handles every bit that the running kernel knows.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Layer {
    /// `LANDLOCK_ACCESS_FS_*` handled by this domain.
    pub handled_fs: u64,
    /// `LANDLOCK_ACCESS_NET_*` handled by this domain.
    pub handled_net: u64,
    /// `LANDLOCK_SCOPE_*` of this domain.
    pub scoped: u64,
    /// Rules below which file hierarchies are reachable.
    pub paths: Vec<PathRule>,
    /// TCP ports, 0..=65535, with `LANDLOCK_ACCESS_NET_*`.
    pub ports: Vec<PortRule>,
}

/// Grants `access` beneath `path`, as the container sees it, except beneath `except`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathRule {
    /// Absolute path inside the container.
    #[serde(with = "text::one")]
    pub path: Vec<u8>,
    /// `LANDLOCK_ACCESS_FS_*` granted.
    pub access: u64,
    /// Absolute paths beneath `path` that stay ungranted: init grants the siblings instead.
    #[serde(with = "text::all")]
    pub except: Vec<Vec<u8>>,
    /// A path that does not exist is skipped rather than refused.
    pub optional: bool,
    /// Symbolic links in `path` are followed. Without it, only the links of the alias table are.
    pub follow: bool,
    /// Only what lies on the same mount as `path`: every mount point beneath it is excepted, as
    /// /proc/self/mountinfo tells, whatever config.json calls it.
    pub within_mount: bool,
}

/// Grants `access` on one TCP port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortRule {
    /// Port number, 0..=65535.
    pub port: u16,
    /// `LANDLOCK_ACCESS_NET_*` granted.
    pub access: u64,
}

/// One resource limit (getrlimit(2)); `u64::MAX` is RLIM_INFINITY.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rlimit {
    /// `RLIMIT_*`.
    pub resource: u32,
    /// Soft limit.
    pub soft: u64,
    /// Hard limit.
    pub hard: u64,
}

/// A compiled seccomp filter.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filter {
    /// `struct sock_filter` array in native byte order, 8 bytes an instruction, 1..=4096 of them.
    pub program: Vec<u8>,
    /// `SECCOMP_FILTER_FLAG_*` taken over from the engine's filter (SPEC_ALLOW, LOG).
    pub flags: u32,
    /// The program answers some calls with USER_NOTIF, so init installs a listener.
    pub listener: bool,
}

/// Where init's program is mounted in a container that cannot be given it as a file in memory.
pub const BOUND_INIT: &str = "/dev/.mantlet-init";

mod aliases;
mod codec;
pub mod rights;
mod text;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use aliases::aliased;
pub use codec::{DecodeError, Decoder, Encoder};

/// First bytes of a sealed policy; the last one is the version of its form.
const MAGIC: [u8; 8] = *b"mantlet\x02";

impl Policy {
    /// The bytes that [`Policy::decode`] reads back.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Encoder::new();
        out.raw(&MAGIC);
        out.flag(self.supervised);
        out.list(&self.layers, |out, layer| layer.encode(out));
        encode_rlimits(&self.rlimits, &mut out);
        encode_rlimits(&self.bounds, &mut out);
        out.bytes(&self.filter.program);
        out.u32(self.filter.flags);
        out.flag(self.filter.listener);
        out.finish()
    }

    /// Reads a policy back, whole or not at all.
    ///
    /// # Errors
    /// [`DecodeError`] for a foreign or other version's magic, a length that leaves the buffer, a
    /// flag that is neither 0 nor 1, or bytes left over.
    pub fn decode(bytes: &[u8]) -> Result<Policy, DecodeError> {
        let mut input = Decoder::new(bytes);
        input.expect(&MAGIC)?;
        let policy = Policy {
            supervised: input.flag()?,
            layers: input.list(Layer::decode)?,
            rlimits: decode_rlimits(&mut input)?,
            bounds: decode_rlimits(&mut input)?,
            filter: Filter {
                program: input.bytes()?.to_vec(),
                flags: input.u32()?,
                listener: input.flag()?,
            },
        };
        input.end()?;
        Ok(policy)
    }
}

impl PathRule {
    /// Its path.
    #[must_use]
    pub fn place(&self) -> PathBuf {
        OsStr::from_bytes(&self.path).into()
    }
}

impl Layer {
    fn encode(&self, out: &mut Encoder) {
        out.u64(self.handled_fs);
        out.u64(self.handled_net);
        out.u64(self.scoped);
        out.list(&self.paths, |out, rule| {
            out.bytes(&rule.path);
            out.u64(rule.access);
            out.list(&rule.except, |out, path| out.bytes(path));
            out.flag(rule.optional);
            out.flag(rule.follow);
            out.flag(rule.within_mount);
        });
        out.list(&self.ports, |out, rule| {
            out.u32(u32::from(rule.port));
            out.u64(rule.access);
        });
    }

    fn decode(input: &mut Decoder<'_>) -> Result<Layer, DecodeError> {
        Ok(Layer {
            handled_fs: input.u64()?,
            handled_net: input.u64()?,
            scoped: input.u64()?,
            paths: input.list(|input| {
                Ok(PathRule {
                    path: input.bytes()?.to_vec(),
                    access: input.u64()?,
                    except: input.list(|input| Ok(input.bytes()?.to_vec()))?,
                    optional: input.flag()?,
                    follow: input.flag()?,
                    within_mount: input.flag()?,
                })
            })?,
            ports: input.list(|input| {
                Ok(PortRule {
                    port: u16::try_from(input.u32()?).map_err(|_| DecodeError::Range("port"))?,
                    access: input.u64()?,
                })
            })?,
        })
    }
}

/// Writes a list of limits; shared with the channel, where an exec session's own limits travel.
pub fn encode_rlimits(rlimits: &[Rlimit], out: &mut Encoder) {
    out.list(rlimits, |out, limit| {
        out.u32(limit.resource);
        out.u64(limit.soft);
        out.u64(limit.hard);
    });
}

/// Reads what [`encode_rlimits`] wrote.
///
/// # Errors
/// [`DecodeError`] where the bytes end early.
pub fn decode_rlimits(input: &mut Decoder<'_>) -> Result<Vec<Rlimit>, DecodeError> {
    input.list(|input| {
        Ok(Rlimit {
            resource: input.u32()?,
            soft: input.u64()?,
            hard: input.u64()?,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Policy {
        Policy {
            supervised: true,
            layers: vec![Layer {
                handled_fs: 0x1ffff,
                handled_net: 3,
                scoped: 1,
                paths: vec![PathRule {
                    path: b"/".to_vec(),
                    access: 5,
                    except: vec![b"/data".to_vec(), b"/tmp".to_vec()],
                    optional: true,
                    follow: false,
                    within_mount: true,
                }],
                ports: vec![PortRule {
                    port: 8080,
                    access: 1,
                }],
            }],
            rlimits: vec![Rlimit {
                resource: 7,
                soft: 4,
                hard: u64::MAX,
            }],
            bounds: vec![Rlimit {
                resource: 7,
                soft: 4,
                hard: u64::MAX,
            }],
            filter: Filter {
                program: vec![6, 0, 0, 0, 0, 0, 0xff, 0x7f],
                flags: 4,
                listener: true,
            },
        }
    }

    #[test]
    fn a_policy_survives_the_round_trip() {
        assert_eq!(Policy::decode(&sample().encode()), Ok(sample()));
    }

    #[test]
    fn a_layer_survives_json() {
        let layer = &sample().layers[0];
        let text = serde_json::to_string(layer).unwrap();
        assert!(text.contains(r#""except":["/data","/tmp"]"#), "{text}");
        assert_eq!(serde_json::from_str::<Layer>(&text).unwrap(), *layer);
        let mut odd = layer.clone();
        odd.paths[0].path = vec![0xff];
        assert!(serde_json::to_string(&odd).is_err());
    }

    #[test]
    fn no_prefix_of_a_policy_is_a_policy() {
        let bytes = sample().encode();
        for end in 0..bytes.len() {
            assert!(Policy::decode(&bytes[..end]).is_err(), "{end} bytes");
        }
    }

    #[test]
    fn bytes_left_over_are_refused() {
        let mut bytes = sample().encode();
        bytes.push(0);
        assert_eq!(Policy::decode(&bytes), Err(DecodeError::LeftOver(1)));
    }

    #[test]
    fn no_single_flipped_bit_makes_the_decoder_panic_or_run_away() {
        let bytes = sample().encode();
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            if let Ok(policy) = Policy::decode(&flipped) {
                assert_ne!(policy, sample());
            }
        }
    }
}
