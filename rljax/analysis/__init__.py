"""What reads runs: comparisons, plots, videos, tables and reports."""
