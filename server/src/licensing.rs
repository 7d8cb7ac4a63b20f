//! What the vendor's commands and the admin interface do to licenses: one function each, so that both do the same.

use claviger_protocol::clock::{DAY, Date, Timestamp};
use claviger_protocol::documents::{LicenseKind, VendorProfile};
use claviger_protocol::ids::{ProductId, VendorId};
use claviger_protocol::keys::Sha256;
use claviger_protocol::serial::{Serial, TypedCodeError};
use claviger_protocol::unlock::{UnlockCode, unlock_key};
use ring::rand::SecureRandom;
use serde::{Deserialize, Serialize};

use crate::storage::admin::{Issued, LicenseChange, NewLicense, NewOrder, Product, Terms};
use crate::storage::{Store, StoreError};

/// Most licenses of one order.
pub const MAX_COUNT: u32 = 1_000_000;
/// Days of use after a subscription is paid for.
pub const GRACE_DAYS: u32 = 14;
/// Replacements without a receipt in a year.
pub const REPLACEMENT_BUDGET: u32 = 6;

/// Why it was not done.
#[derive(Debug, thiserror::Error)]
pub enum LicensingError {
    /// The store says no.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A serial number or code was mistyped.
    #[error(transparent)]
    Typed(#[from] TypedCodeError),
    /// What was asked for makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// No randomness.
    #[error("the system's random number generator failed")]
    Random,
}

impl From<ring::error::Unspecified> for LicensingError {
    fn from(_: ring::error::Unspecified) -> Self {
        Self::Random
    }
}

/// Licenses to be issued. Closed list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct IssueOrder {
    /// The product or bundle: its id, or a unique ending of it.
    pub product: String,
    /// `perpetual`, `subscription` or `trial`; `perpetual` unless it is given.
    #[serde(default = "perpetual")]
    #[schema(value_type = String)]
    pub kind: LicenseKind,
    /// On how many machines each may be active.
    #[serde(default = "one")]
    pub seats: u32,
    /// Perpetual: the last release date covered, as `2027-01-31`; without it all releases are.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub updates_until: Option<Date>,
    /// Subscription: the last day that is paid for.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub paid_through: Option<Date>,
    /// Subscription: days of use after that.
    #[serde(default)]
    pub grace_days: Option<u32>,
    /// Trial: days from the first activation.
    #[serde(default)]
    pub trial_days: Option<u32>,
    /// Features that the licenses open, in the vendor's own words.
    #[serde(default)]
    pub entitlements: Vec<String>,
    /// Replacements without a receipt in a year.
    #[serde(default)]
    pub replacement_budget: Option<u32>,
    /// The shop's order: giving it again issues nothing again.
    #[serde(default)]
    pub order_id: Option<String>,
    /// How many.
    #[serde(default = "one")]
    pub count: u32,
}

const fn one() -> u32 {
    1
}

const fn perpetual() -> LicenseKind {
    LicenseKind::Perpetual
}

/// A license that was just issued. The code is never to be had again.
#[derive(Clone, Debug)]
pub struct Fresh {
    /// Its serial number.
    pub serial: Serial,
    /// Its unlock code.
    pub code: UnlockCode,
}

/// What became of an order.
#[derive(Debug)]
pub enum IssueOutcome {
    /// These were issued.
    Fresh(Vec<Fresh>),
    /// The order had been issued before; its codes were shown then.
    Before(Vec<Serial>),
}

/// The end of a day in UTC: what is paid through a day is paid until its last second.
#[must_use]
pub fn end_of(day: Date) -> Timestamp {
    day.start().plus(DAY - 1)
}

/// Finds a product by its id, or by a unique ending of it (`synth` for `com.example.synth`), or by its name.
///
/// # Errors
/// [`StoreError::NotFound`] when none or several match.
pub async fn find_product(store: &dyn Store, text: &str) -> Result<ProductId, StoreError> {
    let products = store.products().await?;
    if let Some(exact) = products.iter().find(|p| p.id.as_str() == text) {
        return Ok(exact.id.clone());
    }
    let ending = format!(".{}", text.to_lowercase());
    let found: Vec<&Product> = products
        .iter()
        .filter(|p| p.id.as_str().ends_with(&ending) || p.name.to_lowercase() == text.to_lowercase())
        .collect();
    match found[..] {
        [one] => Ok(one.id.clone()),
        [] => Err(StoreError::NotFound(format!(
            "there is no product {text}: `claviger-server product list` names those there are"
        ))),
        _ => {
            let ids: Vec<&str> = found.iter().map(|p| p.id.as_str()).collect();
            Err(StoreError::Invalid(format!("“{text}” may be any of {}: give the whole id", ids.join(", "))))
        }
    }
}

/// Checks a new product's id and name, and gives it. What vendors do with ids of their own never meets another's: that
/// is why each begins with the vendor's.
///
/// # Errors
/// [`LicensingError`].
pub async fn new_product(
    store: &dyn Store,
    vendor: &VendorId,
    id: ProductId,
    name: &str,
    contains: &[String],
) -> Result<Product, LicensingError> {
    let invalid = |text: String| Err(LicensingError::Invalid(text));
    if !id.as_str().strip_prefix(vendor.as_str()).is_some_and(|rest| rest.starts_with('.')) {
        let last = id.as_str().rsplit('.').next().unwrap_or_default();
        return invalid(format!(
            "the product id {id} does not begin with your vendor id: write it as {vendor}.{last}"
        ));
    }
    let name = name.trim().to_owned();
    if name.is_empty() || name.chars().count() > 128 {
        return invalid("a product's name has 1 to 128 characters".to_owned());
    }
    if name.chars().any(char::is_control) {
        return invalid("a product's name has no control characters, line breaks or tabs".to_owned());
    }
    let mut members = Vec::new();
    for text in contains {
        let member = find_product(store, text).await?;
        if !members.contains(&member) {
            members.push(member);
        }
    }
    Ok(Product { id, name, contains: members })
}

impl IssueOrder {
    /// The terms of its licenses, checked.
    ///
    /// # Errors
    /// [`LicensingError::Invalid`] names what does not fit together.
    pub fn terms(&self, product: ProductId) -> Result<Terms, LicensingError> {
        let invalid = |text: &str| Err(LicensingError::Invalid(text.to_owned()));
        match self.kind {
            LicenseKind::Perpetual if self.paid_through.is_some() || self.trial_days.is_some() => {
                return invalid("a perpetual license has neither a paid-through day nor trial days");
            }
            LicenseKind::Subscription if self.paid_through.is_none() => {
                return invalid("a subscription needs the day through which it is paid");
            }
            LicenseKind::Subscription if self.trial_days.is_some() || self.updates_until.is_some() => {
                return invalid("a subscription has neither trial days nor an end of updates");
            }
            LicenseKind::Trial if self.trial_days.is_none_or(|d| d == 0 || d > 3650) => {
                return invalid("a trial needs 1 to 3650 trial days");
            }
            LicenseKind::Trial if self.paid_through.is_some() || self.updates_until.is_some() => {
                return invalid("a trial has neither a paid-through day nor an end of updates");
            }
            LicenseKind::Other => {
                return invalid("the kind must be perpetual, subscription or trial");
            }
            LicenseKind::Perpetual | LicenseKind::Subscription | LicenseKind::Trial => {}
        }
        if self.seats == 0 || self.seats > 100_000 {
            return invalid("a license has 1 to 100,000 seats");
        }
        if self.count == 0 || self.count > MAX_COUNT {
            return invalid("one order issues 1 to 1,000,000 licenses");
        }
        if self.grace_days.is_some_and(|d| d > 3650) {
            return invalid("the days of grace are at most 3650");
        }
        check_entitlements(&self.entitlements)?;
        check_order_id(self.order_id.as_deref())?;
        Ok(Terms {
            product,
            kind: self.kind,
            seats: self.seats,
            updates_until: self.updates_until,
            paid_through: self.paid_through.map(end_of),
            grace_days: self.grace_days.unwrap_or(GRACE_DAYS),
            trial_days: self.trial_days,
            entitlements: self.entitlements.clone(),
            replacement_budget: self.replacement_budget.unwrap_or(REPLACEMENT_BUDGET),
        })
    }
}

fn check_entitlements(entitlements: &[String]) -> Result<(), LicensingError> {
    let fine = |e: &String| !e.is_empty() && e.len() <= 128 && !e.chars().any(char::is_control);
    if entitlements.len() > 64 || !entitlements.iter().all(fine) {
        return Err(LicensingError::Invalid(
            "at most 64 entitlements, each of 1 to 128 bytes without control characters".to_owned(),
        ));
    }
    Ok(())
}

/// Checks an order id.
///
/// # Errors
/// [`LicensingError::Invalid`].
pub fn check_order_id(id: Option<&str>) -> Result<(), LicensingError> {
    match id {
        Some(id) if id.is_empty() || id.len() > 128 || id.chars().any(char::is_control) => Err(
            LicensingError::Invalid("an order id has 1 to 128 bytes and no control characters".to_owned()),
        ),
        _ => Ok(()),
    }
}

/// A batch of fresh licenses that is not stored yet: their codes can be brought to safety first, because they are
/// never to be had again.
pub struct Batch {
    /// What will be stored.
    licenses: Vec<NewLicense>,
    order: Option<NewOrder>,
    /// What the customers get.
    pub fresh: Vec<Fresh>,
}

impl Batch {
    /// Draws serial numbers and codes; `each` is called after each one.
    ///
    /// # Errors
    /// [`LicensingError`].
    pub fn draw(
        profile: &VendorProfile,
        order: &IssueOrder,
        product: ProductId,
        rng: &dyn SecureRandom,
        mut each: impl FnMut(),
    ) -> Result<Self, LicensingError> {
        let terms = order.terms(product)?;
        let count = usize::try_from(order.count).unwrap_or(usize::MAX);
        let mut batch =
            Self { licenses: Vec::with_capacity(count), order: None, fresh: Vec::with_capacity(count) };
        for _ in 0..count {
            let serial = Serial::random(&profile.prefix, rng)?;
            let code = UnlockCode::random(rng)?;
            batch.licenses.push(NewLicense {
                unlock_key: unlock_key(&profile.iss, &serial, Some(&code)).public(),
                serial: serial.clone(),
                terms: terms.clone(),
                order_id: order.order_id.clone(),
            });
            batch.fresh.push(Fresh { serial, code });
            each();
        }
        if let Some(id) = &order.order_id {
            let content = serde_json::json!([batch.licenses.first().map(|l| &l.terms), order.count]);
            batch.order =
                Some(NewOrder { id: id.clone(), content: Sha256::of(content.to_string().as_bytes()) });
        }
        Ok(batch)
    }

    /// Stores it, all or nothing.
    ///
    /// # Errors
    /// [`LicensingError`].
    pub async fn store(self, store: &dyn Store, now: Timestamp) -> Result<IssueOutcome, LicensingError> {
        match store.issue(self.order, self.licenses, now).await? {
            Issued::Now => Ok(IssueOutcome::Fresh(self.fresh)),
            Issued::Before(serials) => Ok(IssueOutcome::Before(serials)),
        }
    }
}

/// Gives a license to a new owner, who gets the unlock code `code`: ends its activations, and tells how many.
///
/// # Errors
/// [`StoreError`].
pub async fn transfer(
    store: &dyn Store,
    profile: &VendorProfile,
    serial: &Serial,
    code: &UnlockCode,
    now: Timestamp,
) -> Result<u64, StoreError> {
    let key = unlock_key(&profile.iss, serial, Some(code)).public();
    store.change_license(serial.clone(), LicenseChange::Transfer(key), now).await
}

/// A row of a shop's existing serial numbers.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ImportRow {
    /// The serial number, as the shop writes it.
    pub serial: String,
    /// Its unlock code; without one the serial number proves itself.
    #[serde(default)]
    pub unlock_code: Option<String>,
    /// The shop's order.
    #[serde(default)]
    pub order_id: Option<String>,
}

/// What is wrong with a row of an import.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RowError {
    /// The row, counted as its reader counts.
    pub line: u64,
    /// What is wrong.
    pub error: String,
}

/// Codes shorter than this can be guessed in a reasonable time.
const SHORT_CODE: usize = 12;

/// Rows that were checked and can be stored.
#[derive(Debug)]
pub struct Import {
    licenses: Vec<NewLicense>,
    /// Rows whose proof can be guessed: a short code, or none.
    pub guessable: usize,
}

impl Import {
    /// Checks all rows, against each other and against what is stored.
    ///
    /// # Errors
    /// Every row that is wrong, by line; the inner error is for failures that have nothing to do with a row.
    pub async fn check(
        store: &dyn Store,
        profile: &VendorProfile,
        terms: &Terms,
        rows: &[(u64, ImportRow)],
    ) -> Result<Result<Self, Vec<RowError>>, LicensingError> {
        let mut import = Self { licenses: Vec::with_capacity(rows.len()), guessable: 0 };
        let mut errors = Vec::new();
        let mut lines: std::collections::HashMap<Serial, u64> = std::collections::HashMap::new();
        for (line, row) in rows {
            match import_row(profile, terms, row) {
                Ok((license, guessable)) => {
                    if let Some(first) = lines.insert(license.serial.clone(), *line) {
                        let error =
                            format!("the serial number {} stands on line {first} already", license.serial);
                        errors.push(RowError { line: *line, error });
                    }
                    import.guessable += usize::from(guessable);
                    import.licenses.push(license);
                }
                Err(error) => errors.push(RowError { line: *line, error: error.to_string() }),
            }
        }
        let serials = import.licenses.iter().map(|l| l.serial.clone()).collect();
        for known in store.existing(serials).await? {
            let line = lines.get(&known).copied().unwrap_or(0);
            errors.push(RowError { line, error: format!("the serial number {known} exists already") });
        }
        errors.sort_by_key(|e| e.line);
        Ok(if errors.is_empty() { Ok(import) } else { Err(errors) })
    }

    /// How many licenses it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.licenses.len()
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.licenses.is_empty()
    }

    /// Stores it, all or nothing.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn store(self, store: &dyn Store, now: Timestamp) -> Result<usize, StoreError> {
        let count = self.licenses.len();
        store.issue(None, self.licenses, now).await?;
        Ok(count)
    }
}

fn import_row(
    profile: &VendorProfile,
    terms: &Terms,
    row: &ImportRow,
) -> Result<(NewLicense, bool), LicensingError> {
    let serial = Serial::parse_any(&row.serial, &profile.prefix)?;
    let text = row.unlock_code.as_deref().map(str::trim).filter(|t| !t.is_empty());
    let code = text.map(|t| UnlockCode::parse(t, &serial)).transpose()?;
    let order_id = row.order_id.as_deref().map(str::trim).filter(|t| !t.is_empty()).map(str::to_owned);
    check_order_id(order_id.as_deref())?;
    let guessable = code.as_ref().is_none_or(|c| c.reveal().len() < SHORT_CODE);
    let unlock_key = unlock_key(&profile.iss, &serial, code.as_ref()).public();
    Ok((NewLicense { serial, unlock_key, terms: terms.clone(), order_id }, guessable))
}

/// What a renewal changes. Closed list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Renewal {
    /// Subscription: the new last day that is paid for.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub paid_through: Option<Date>,
    /// Perpetual: the new last release date covered.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub updates_until: Option<Date>,
    /// Machines that it may be active on.
    #[serde(default)]
    pub seats: Option<u32>,
    /// Lost machines that may be replaced in a year.
    #[serde(default)]
    pub replacement_budget: Option<u32>,
}

/// Checks a renewal against the license.
///
/// # Errors
/// [`LicensingError`].
pub async fn renewal(
    store: &dyn Store,
    serial: &Serial,
    wanted: &Renewal,
) -> Result<LicenseChange, LicensingError> {
    let invalid = |text: &str| Err(LicensingError::Invalid(text.to_owned()));
    let listed = store.license(serial.clone()).await?.ok_or_else(|| {
        StoreError::NotFound(format!(
            "there is no license {serial}: look for a mistyped letter, or see `claviger-server license list`"
        ))
    })?;
    if *wanted == Renewal::default() {
        return invalid("nothing would change");
    }
    if wanted.paid_through.is_some() && listed.license.kind != LicenseKind::Subscription {
        return invalid("only a subscription has a paid-through day");
    }
    if wanted.updates_until.is_some() && listed.license.kind != LicenseKind::Perpetual {
        return invalid("only a perpetual license has an end of updates");
    }
    if wanted.seats.is_some_and(|s| s == 0 || s > 100_000) {
        return invalid("a license has 1 to 100,000 seats");
    }
    Ok(LicenseChange::Renew {
        paid_through: wanted.paid_through.map(end_of),
        updates_until: wanted.updates_until,
        seats: wanted.seats,
        replacement_budget: wanted.replacement_budget,
    })
}
