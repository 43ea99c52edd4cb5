//! The reporting function.

#[tokio::main]
async fn main() -> Result<(), lambda_http::Error> {
    lyceum_core::run_streaming::<lyceum_reporting::Reporting>().await
}
