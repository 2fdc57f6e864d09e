//! The `tulpar` binary. Everything is in the library.

fn main() -> std::process::ExitCode {
    tulpar_runtime::cli::main()
}
