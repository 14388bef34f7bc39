//! `migrate`

use proofmill_api::{StorageArgs, settings};

pub async fn run(storage: &StorageArgs) -> anyhow::Result<()> {
    settings::prepare(storage).await?;
    println!("the schema is up to date");
    Ok(())
}
