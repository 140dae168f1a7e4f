"""Prints a `.env` for docker-compose.yaml: every password that it asks for, made anew. `make .env` writes it, once.

Hexadecimal, since passwords become parts of URLs. The Fernet key has the form that its library asks for.
"""

import base64
import secrets
import sys

PASSWORDS = (
    "POSTGRES_PASSWORD",
    "AIRFLOW_ADMIN_PASSWORD",
    "AIRFLOW_SECRET_KEY",
    "AIRFLOW_JWT_SECRET",
    "S3_ACCESS_KEY",
    "S3_SECRET_KEY",
)

made = {name: secrets.token_hex(24) for name in PASSWORDS}
made["S3_ACCESS_KEY"] = secrets.token_hex(10)
made["AIRFLOW_FERNET_KEY"] = base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()
made["COMPOSE_PROFILES"] = "s3"
sys.stdout.writelines(f"{name}={value}\n" for name, value in made.items())
