-- What has run is kept with its logs, by script: see src/observe/logs/.
DROP TABLE invocations;
