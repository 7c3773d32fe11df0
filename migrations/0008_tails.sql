-- Scripts with sessions of `wrangler tail`, kept by the object that has them. A row that outlives its
-- object says nothing after `until`, milliseconds since 1970, when the last session expires.
CREATE TABLE tailed_scripts (
  script_id TEXT PRIMARY KEY REFERENCES scripts (id) ON DELETE CASCADE,
  until INTEGER NOT NULL
);
