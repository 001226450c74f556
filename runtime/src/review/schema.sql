-- What people said of the tiles of a record. Times are RFC 3339 in UTC. Changes here
-- change `FORMAT` in store.rs, the database's user_version.

-- Decisions are appended and nothing else. Their order is that of their ids: clocks
-- jump.
CREATE TABLE decision (
    id INTEGER PRIMARY KEY,
    -- Chosen by who asks, so that a request that is repeated is one decision.
    key TEXT NOT NULL UNIQUE,
    tile INTEGER NOT NULL,         -- of record.sqlite
    made TEXT NOT NULL,
    reviewer TEXT NOT NULL,
    class TEXT,                    -- NULL: could not tell, or undoes another
    note TEXT NOT NULL,
    model_sha256 TEXT NOT NULL,    -- the model whose verdict was seen
    took_ms INTEGER NOT NULL,      -- how long the reviewer looked
    is_blind INTEGER NOT NULL,     -- was asked again, without the earlier answer
    undoes INTEGER UNIQUE REFERENCES decision (id)
);
CREATE INDEX decision_by_tile ON decision (tile);
CREATE TRIGGER decision_stays BEFORE UPDATE ON decision
    BEGIN SELECT raise(ABORT, 'a decision is never changed'); END;
CREATE TRIGGER decision_is_kept BEFORE DELETE ON decision
    BEGIN SELECT raise(ABORT, 'a decision is never deleted'); END;

-- Tiles that someone should look at. All of it follows from record.sqlite and the
-- decisions; it is kept so that the queue need not sort them.
CREATE TABLE candidate (
    tile INTEGER PRIMARY KEY,      -- of record.sqlite
    class TEXT NOT NULL,           -- of the verdict; '' where unjudged
    -- How near another verdict was, in twentieths; -1 where there is none.
    nearness INTEGER NOT NULL,
    is_open INTEGER NOT NULL       -- nobody has decided, or it was undone
);
CREATE INDEX candidate_by_use ON candidate (is_open, nearness, class, tile);
CREATE INDEX candidate_by_time ON candidate (is_open, tile);
CREATE TABLE class_count (
    class TEXT PRIMARY KEY,
    tiles INTEGER NOT NULL
) WITHOUT ROWID;
-- Tiles up to this one have been taken over.
CREATE TABLE taken_over (tile INTEGER NOT NULL);
INSERT INTO taken_over VALUES (0);

-- Tiles that come back to measure agreement, once so many decisions have been made.
CREATE TABLE again (
    tile INTEGER PRIMARY KEY,
    due INTEGER NOT NULL           -- id of the decision after which it is due
);
CREATE INDEX again_by_due ON again (due);

-- What someone should know of at once. An alarm stays until someone acknowledges it;
-- of each kind one is open at most.
CREATE TABLE alarm (
    id INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    raised TEXT NOT NULL,
    told TEXT NOT NULL,            -- what was wrong when it was raised or last renewed
    renewed TEXT NOT NULL,
    acknowledged TEXT,             -- NULL: open
    acknowledged_by TEXT
);
CREATE UNIQUE INDEX alarm_open ON alarm (kind) WHERE acknowledged IS NULL;
