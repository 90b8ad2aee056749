"""What is read and kept beside the jobs themselves: logs and pages, the feed, audit, statistics, and their removal."""
