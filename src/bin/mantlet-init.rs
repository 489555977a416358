//! `mantlet-init`: see [`mantlet::init`].

/// `mantlet doctor` looks for this text in the file: init is never run to be asked, because what
/// follows `argv[0]` is the workload's.
/// The line end belongs to it: the linker may put any other text right behind.
const VERSION: &str = concat!("mantlet-init version ", env!("CARGO_PKG_VERSION"), "\n");

fn main() {
    mantlet::init::run(std::env::args_os().collect());
    print!("{VERSION}");
    println!("Runs only as the first program of a container; mantlet-runtime puts it there.");
}
