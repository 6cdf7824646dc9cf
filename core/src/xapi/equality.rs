//! stub
/// s
pub fn same(a: &[u8], b: &[u8]) -> bool {
    a == b
}
/// s
pub fn content_hash(statement: &[u8]) -> [u8; 32] {
    use sha2::Digest;
    sha2::Sha256::digest(statement).into()
}
