"""PostgreSQL: the tables, every query, and the embedded server. No SQL is written anywhere else."""
