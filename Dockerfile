# syntax=docker/dockerfile:1

# The daemon as an image: compiled once, run with its runtime dependencies only, as nobody in particular.

FROM node:24-slim AS build
WORKDIR /build
COPY package.json package-lock.json .npmrc ./
# The compiler needs no install script; those that there are fetch a Node.js and a PostgreSQL for development.
RUN npm ci --ignore-scripts
COPY tsconfig.json tsconfig.build.json ./
COPY src ./src
RUN npm run build

FROM node:24-slim AS dependencies
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
RUN npm ci --omit=dev --ignore-scripts

FROM node:24-slim
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="account-sync" \
      org.opencontainers.image.description="Brings every change of a customer account to a customer API and writes the ids it gives out back" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"

# Outside a container the server is for this machine only; inside, that would be nobody. The console stays closed without HTTP_TOKEN.
ENV NODE_ENV=production \
    HTTP_HOST=0.0.0.0 \
    HTTP_PORT=9464 \
    LOG_FORMAT=json

WORKDIR /app
COPY --from=dependencies /app/node_modules ./node_modules
COPY --from=build /build/dist ./dist
COPY sql ./sql
COPY package.json ./
# For `docker exec <container> account-sync status`.
RUN chmod 755 dist/main.js && ln -s /app/dist/main.js /usr/local/bin/account-sync

# For the sandbox's file. A named volume that is mounted here takes over the owner.
RUN mkdir /data && chown 1000:1000 /data

# By number, so that Kubernetes can see that it is not root (runAsNonRoot).
USER 1000:1000
EXPOSE 9464
STOPSIGNAL SIGTERM

# Alive, not ready: a daemon that waits for its database is not helped by a restart.
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 \
  CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.HTTP_PORT}/healthz`).then((answer) => process.exit(answer.ok ? 0 : 1), () => process.exit(1))"]

ENTRYPOINT ["node", "dist/main.js"]
CMD ["start"]
