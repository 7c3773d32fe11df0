-- Limit of CPU time in milliseconds; NULL: the platform's default.
ALTER TABLE versions ADD COLUMN cpu_ms INTEGER;

-- Scripts that run apart from the others, or did lately. Those of one incident were at work when an
-- executor had to be ended; a culprit was the only one.
CREATE TABLE apart_scripts (
  script_id TEXT PRIMARY KEY REFERENCES scripts (id) ON DELETE CASCADE,
  incident TEXT NOT NULL,
  reason TEXT NOT NULL CHECK (reason IN ('exceededCpu', 'exceededMemory')),
  culprit INTEGER NOT NULL,
  -- how often in a row, as a culprit or as a suspect
  strikes INTEGER NOT NULL,
  -- milliseconds since 1970
  since INTEGER NOT NULL,
  until INTEGER NOT NULL
);

CREATE INDEX apart_scripts_incident ON apart_scripts (incident);
