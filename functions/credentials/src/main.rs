//! The credentials function.

#[tokio::main]
async fn main() -> Result<(), lambda_http::Error> {
    lyceum_core::run::<lyceum_credentials::Credentials>().await
}
