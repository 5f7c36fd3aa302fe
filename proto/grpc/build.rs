//! Generates the gRPC stubs. The messages are those of `consilium-proto`.
fn main() {
    let files: Vec<_> = std::fs::read_dir("../consilium/v1")
        .expect("the .proto folder is beside the crate")
        .map(|entry| entry.expect("the folder is readable").path())
        .filter(|path| path.extension().is_some_and(|e| e == "proto"))
        .collect();
    tonic_prost_build::configure()
        .codec_path("crate::BoundedCodec")
        .extern_path(".consilium.v1", "::consilium_proto::pb")
        .compile_protos(&files, &[std::path::PathBuf::from("..")])
        .expect("the .proto files compile");
    println!("cargo:rerun-if-changed=../consilium/v1");
}
