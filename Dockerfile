# Airflow with dbt: the DAGs, the jobs they call, and the report.
#   docker build -t tidemark .
FROM python:3.11-slim-bookworm AS build
WORKDIR /app
COPY requirements.lock ./
RUN python -m venv /venv \
    && /venv/bin/pip install --no-cache-dir --require-hashes -r requirements.lock

FROM python:3.11-slim-bookworm
RUN useradd --system --uid 10001 --create-home tidemark \
    && install -d -o tidemark /app /opt/airflow /var/lib/tidemark-bans
WORKDIR /app
COPY --from=build /venv /venv
COPY --chown=tidemark tidemark ./tidemark
COPY --chown=tidemark alerts ./alerts
COPY --chown=tidemark airflow ./airflow
COPY --chown=tidemark dbt ./dbt
ENV PATH=/venv/bin:$PATH PYTHONPATH=/app PYTHONUNBUFFERED=1 \
    AIRFLOW_HOME=/opt/airflow \
    AIRFLOW__CORE__DAGS_FOLDER=/app/airflow/dags \
    AIRFLOW__CORE__PLUGINS_FOLDER=/app/airflow/plugins \
    AIRFLOW__CORE__LOAD_EXAMPLES=False \
    AIRFLOW__COSMOS__ENABLE_TELEMETRY=False \
    DO_NOT_TRACK=1 DBT_SEND_ANONYMOUS_USAGE_STATS=false GX_ANALYTICS_ENABLED=False
USER 10001
ENTRYPOINT ["airflow"]
CMD ["version"]
