"""Static files: what --static serves before the application is called."""
