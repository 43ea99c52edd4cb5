//! The outbox function.

#[tokio::main]
async fn main() -> Result<(), lambda_http::Error> {
    lyceum_core::run::<lyceum_outbox::Outbox>().await
}
