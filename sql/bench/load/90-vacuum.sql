-- Not in a transaction: as autovacuum would leave the tables.
vacuum analyze;
