//! `claviger-server product`: the vendor's products and bundles.

use claviger_protocol::clock::{Clock as _, SystemClock};
use claviger_protocol::ids::ProductId;

use super::common::{DataArg, Shop, block_on};
use super::{Failure, FailureKind, Output};
use crate::licensing::{find_product, new_product};
use crate::storage::admin::Product;

/// Add, list and show products and bundles.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    data: DataArg,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Add a product, or a bundle with --contains.
    Add {
        /// Its id in reverse-DNS form: your vendor id, a dot and a name, such as com.example.synth.
        id: ProductId,
        /// Its name for people.
        #[arg(long)]
        name: String,
        /// A product that the bundle contains; give it once for each.
        #[arg(long, value_name = "PRODUCT")]
        contains: Vec<String>,
    },
    /// List all products.
    List,
    /// Show one product.
    Show {
        /// Its id, or a unique ending of it.
        product: String,
    },
}

/// Runs the command.
pub(super) fn run(args: Args, output: Output) -> Result<(), Failure> {
    block_on(async {
        let shop = Shop::open(&args.data).await?;
        match args.command {
            Command::Add { id, name, contains } => add(&shop, id, &name, &contains, output).await,
            Command::List => {
                for product in shop.store.products().await? {
                    tell(&product, output);
                }
                Ok(())
            }
            Command::Show { product } => {
                let id = find_product(shop.store.as_ref(), &product).await?;
                let all = shop.store.products().await?;
                let found = all.into_iter().find(|p| p.id == id);
                let product = found.ok_or_else(|| {
                    Failure::new(FailureKind::NotFound, format!("there is no product {id}"))
                })?;
                tell(&product, output);
                Ok(())
            }
        }
    })
}

async fn add(
    shop: &Shop,
    id: ProductId,
    name: &str,
    contains: &[String],
    output: Output,
) -> Result<(), Failure> {
    let product = new_product(shop.store.as_ref(), &shop.profile.iss, id, name, contains).await?;
    shop.store.add_product(product.clone(), SystemClock.now()).await?;
    output.say(format!("Added {} ({}).", product.id, product.name));
    output.result(&product);
    Ok(())
}

fn tell(product: &Product, output: Output) {
    output.say(format!("{}  {}", product.id, product.name));
    for member in &product.contains {
        output.say(format!("    contains {member}"));
    }
    output.result(product);
}
