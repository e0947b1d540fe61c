"""HTTP whatever its version: requests, responses, and the exchange with an application."""
