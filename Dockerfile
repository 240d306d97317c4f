FROM python:3.11-slim

ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOME=/data
WORKDIR /app

COPY requirements.txt .
RUN pip install --no-cache-dir -r requirements.txt
COPY . .
RUN useradd --system --uid 10001 --home-dir /data autoforge && install -d -o autoforge /data

# The database and the logs, where no setting says otherwise. A container's own 127.0.0.1 cannot be reached from outside.
ENV DATABASE_URL=sqlite:////data/sensors.db LOG_FILE=/data/autoforge.log FLASK_HOST=0.0.0.0
VOLUME /data
USER autoforge
EXPOSE 5000

# 200 as long as the database answers; a broker that is away is no reason to restart.
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s \
    CMD ["python", "-c", "import os, urllib.request as u; u.urlopen('http://127.0.0.1:' + os.environ.get('FLASK_PORT', '5000') + '/api/health', timeout=4)"]

# gunicorn's workers show that they live by touching a file: in memory, not on the disk.
CMD ["gunicorn", "-c", "gunicorn.conf.py", "--worker-tmp-dir", "/dev/shm", "app:app"]
