#[derive(Debug)]
pub struct Profile;
