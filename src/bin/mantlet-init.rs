//! `mantlet-init`: see [`mantlet::init`].

fn main() {
    mantlet::init::run(std::env::args_os().collect());
    println!("mantlet-init {}", env!("CARGO_PKG_VERSION"));
    println!("Runs only as the first program of a container; mantlet-runtime puts it there.");
}
