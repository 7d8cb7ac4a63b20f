-- How to change the schema: add a file with the next number beside this one, list it in `../migrate.rs`, never edit one
-- that was released. A migration goes forward only, runs in one transaction, and needs nothing but the tables as the
-- file before left them. `PRAGMA user_version` holds the number of the last one that ran.
--
-- Moments are seconds since 1970 in UTC; ids, keys and hashes are raw bytes; IP addresses stand in none of these tables.

CREATE TABLE meta (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    vendor TEXT NOT NULL,
    epoch INTEGER NOT NULL,        -- rises with every restore
    catalogue INTEGER NOT NULL     -- rises with every change of products
) STRICT;

CREATE TABLE products (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    created INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE bundle_members (
    bundle TEXT NOT NULL REFERENCES products (id),
    position INTEGER NOT NULL,
    product TEXT NOT NULL REFERENCES products (id),
    PRIMARY KEY (bundle, position),
    UNIQUE (bundle, product)
) STRICT, WITHOUT ROWID;

-- An order of the shop, so that issuing it twice issues it once.
CREATE TABLE orders (
    id TEXT PRIMARY KEY,
    content BLOB NOT NULL,         -- SHA-256 of what was ordered
    created INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE licenses (
    id INTEGER PRIMARY KEY,
    serial TEXT NOT NULL UNIQUE,
    product TEXT NOT NULL REFERENCES products (id),
    kind TEXT NOT NULL CHECK (kind IN ('perpetual', 'subscription', 'trial')),
    seats INTEGER NOT NULL CHECK (seats > 0),
    unlock_key BLOB NOT NULL,
    updates_until TEXT,
    paid_through INTEGER,
    grace_days INTEGER NOT NULL,
    trial_days INTEGER,
    trial_end INTEGER,             -- fixed at the first activation
    entitlements TEXT NOT NULL,    -- a JSON array
    state TEXT NOT NULL CHECK (state IN ('active', 'suspended', 'revoked')),
    replacement_budget INTEGER NOT NULL,
    generation INTEGER NOT NULL,   -- rises with the state: certificates get a higher revision
    order_id TEXT REFERENCES orders (id),
    created INTEGER NOT NULL
) STRICT;
CREATE INDEX licenses_by_order ON licenses (order_id) WHERE order_id IS NOT NULL;
CREATE INDEX licenses_by_product ON licenses (product, id);

-- Rows of one license lie together; an activation that ended stays as history.
CREATE TABLE activations (
    license INTEGER NOT NULL REFERENCES licenses (id),
    id BLOB NOT NULL,
    machine BLOB NOT NULL,
    device_name TEXT NOT NULL,
    os_family TEXT NOT NULL,
    os_version TEXT NOT NULL,
    os_arch TEXT NOT NULL,
    cpu_model TEXT NOT NULL,
    cpu_cores INTEGER NOT NULL,
    ram_gib INTEGER NOT NULL,
    rev INTEGER NOT NULL,
    terms INTEGER NOT NULL,
    created INTEGER NOT NULL,
    last_seen INTEGER NOT NULL,
    adopted INTEGER NOT NULL,
    ended INTEGER,
    end_reason TEXT,
    ended_by TEXT,
    PRIMARY KEY (license, id)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX activations_by_id ON activations (id);

CREATE TABLE devices (
    machine BLOB NOT NULL,
    jkt BLOB NOT NULL,             -- thumbprint of the device key
    first_seen INTEGER NOT NULL,
    last_seen INTEGER NOT NULL,
    PRIMARY KEY (machine, jkt)
) STRICT, WITHOUT ROWID;

-- What was answered, so that a repeated request is answered the same way.
CREATE TABLE requests (
    jkt BLOB NOT NULL,
    nonce BLOB NOT NULL,
    hash BLOB NOT NULL,
    claims TEXT NOT NULL,
    activation BLOB,
    at INTEGER NOT NULL,
    PRIMARY KEY (jkt, nonce)
) STRICT, WITHOUT ROWID;
-- Answers that made no activation need not be kept for ever.
CREATE INDEX requests_by_age ON requests (at) WHERE activation IS NULL;

CREATE TABLE replacements (
    license INTEGER NOT NULL REFERENCES licenses (id),
    activation BLOB NOT NULL,
    at INTEGER NOT NULL,
    receipted INTEGER NOT NULL,
    PRIMARY KEY (license, activation)
) STRICT, WITHOUT ROWID;

-- What happened to a license beyond its activations' own rows.
CREATE TABLE events (
    id INTEGER PRIMARY KEY,
    license INTEGER NOT NULL REFERENCES licenses (id),
    activation BLOB,
    at INTEGER NOT NULL,
    what TEXT NOT NULL,
    detail TEXT
) STRICT;
CREATE INDEX events_by_license ON events (license, id);
