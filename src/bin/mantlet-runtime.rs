//! `mantlet-runtime`, the front door: see [`mantlet::runtime`].

fn main() {
    std::process::exit(mantlet::runtime::run(std::env::args_os().collect()));
}
