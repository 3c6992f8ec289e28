//! The command line as a user meets it: help, version, wrong usage. The cases are data: `tests/cmd/*.toml`.
//! After a change of wording: `TRYCMD=overwrite cargo test --release --test it cli::`, and read the difference.

#[test]
fn help_version_and_wrong_usage_read_as_recorded() {
    trycmd::TestCases::new().case("tests/cmd/*.toml");
}
