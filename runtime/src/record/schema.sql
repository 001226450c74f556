-- The record of a Millsight runtime. Times are RFC 3339 in UTC. Changes here
-- change `FORMAT` in database.rs, the database's user_version.
-- A model that judged.
CREATE TABLE model (
    id INTEGER PRIMARY KEY,
    sha256 TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    card TEXT NOT NULL             -- JSON
);
CREATE TABLE run (
    id INTEGER PRIMARY KEY,
    started TEXT NOT NULL,
    finished TEXT,                 -- NULL: still running, or it crashed
    -- running, complete, complete_with_problems, stopped (by someone, before its
    -- source ended), crashed (found as running by the next run)
    status TEXT NOT NULL,
    program TEXT NOT NULL,
    station TEXT NOT NULL,
    station_toml TEXT NOT NULL,
    engine TEXT NOT NULL,          -- JSON
    model INTEGER NOT NULL REFERENCES model (id),  -- with which it began
    lines_per_metre REAL NOT NULL,
    mm_per_pixel REAL NOT NULL,
    summary TEXT                   -- JSON, when finished
);
CREATE TABLE piece (
    id INTEGER PRIMARY KEY,
    run INTEGER NOT NULL REFERENCES run (id),
    name TEXT NOT NULL,
    started TEXT NOT NULL,
    finished TEXT,
    lines INTEGER,
    missing_lines INTEGER
);
-- Tiles that an operator should look at: flagged as a defect, or unjudged.
-- With keep_images = "all" every other tile with material too.
CREATE TABLE tile (
    id INTEGER PRIMARY KEY,
    piece INTEGER NOT NULL REFERENCES piece (id),
    row INTEGER NOT NULL,
    "column" INTEGER NOT NULL,
    first_line INTEGER NOT NULL,
    metres REAL NOT NULL,          -- along the piece, of the first line
    millimetres REAL NOT NULL,     -- across, of the tile's centre
    encoder INTEGER,
    lines INTEGER NOT NULL,        -- fewer than 512: the rest is padding
    model INTEGER NOT NULL REFERENCES model (id),  -- that judged it, or would have
    state TEXT NOT NULL,           -- judged, unjudged
    reason TEXT,                   -- why unjudged
    class TEXT,
    probability REAL,
    probabilities TEXT,            -- JSON list in the order of the card's classes
    suspicion REAL,                -- the screen's probability of a defect
    distance REAL,                 -- from the model's training data, in units of its median there
    image TEXT,                    -- relative to the record's folder
    image_problem TEXT,            -- why there is no image that was to be kept
    file TEXT,                     -- its file, where the source is a folder of tiles
    latency_ms REAL NOT NULL,
    settled TEXT NOT NULL,
    UNIQUE (piece, row, "column")
);
CREATE TABLE gap (
    id INTEGER PRIMARY KEY,
    piece INTEGER NOT NULL REFERENCES piece (id),
    first_line INTEGER NOT NULL,
    lines INTEGER NOT NULL,
    metres REAL NOT NULL,
    reason TEXT NOT NULL,
    seconds REAL,                  -- for which no line came, where that is known
    moment TEXT NOT NULL           -- at which it was noted
);
-- What all tiles of some rows were like, those that are not recorded too: a minute, or
-- what is left of a piece or of a model's time.
CREATE TABLE statistics (
    id INTEGER PRIMARY KEY,
    piece INTEGER NOT NULL REFERENCES piece (id),
    moment TEXT NOT NULL,          -- of the last of the rows
    first_row INTEGER NOT NULL,
    rows INTEGER NOT NULL,
    background INTEGER NOT NULL,   -- tiles by their state when their row was settled
    cleared INTEGER NOT NULL,
    judged INTEGER NOT NULL,
    unjudged INTEGER NOT NULL,
    flagged TEXT NOT NULL,         -- JSON: tiles of each class
    suspicion TEXT NOT NULL,       -- JSON: tiles by the screen's suspicion, 20 steps from 0 to 1
    brightness TEXT NOT NULL,      -- JSON: tiles by their mean level, 32 steps from 0 to 255
    distance TEXT NOT NULL,        -- JSON: judged tiles by their distance, 40 steps from 0 to 4
    model INTEGER NOT NULL REFERENCES model (id)  -- that judged, or would have
);
CREATE INDEX statistics_by_moment ON statistics (moment);
CREATE INDEX tile_by_class ON tile (piece, class);
