fn main() { println!("{}", landlock::ABI::V1 as i32); println!("{:?}", libseccomp::ScmpVersion::current()); }
