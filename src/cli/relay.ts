import { styleText } from 'node:util'
import type { Logger, Posthaste } from '../index.ts'
import { databaseCommand, told, wholeBetween } from './command.ts'
import { withPosthaste } from './open.ts'
import { harmless, jsonLine, print } from './output.ts'

type Level = keyof Logger

const LEVELS: readonly Level[] = ['debug', 'info', 'warn', 'error']

export function relayCommand() {
  return databaseCommand('relay')
    .description(
      'Runs a relay until SIGINT or SIGTERM: the first lets it finish what it does, the second ends it at once. Any number may run; one is on duty.',
    )
    .option('--listen-url <url>', 'direct connection string, when the database is behind a pooler such as PgBouncer')
    .option(
      '--health-port <port>',
      'answer GET /live (the process runs) and GET /ready (and reaches its database) on this port',
      wholeBetween(1, 65_535),
    )
    .option('--verbose', 'tell of every cycle')
    .addHelpText(
      'after',
      told({
        example: 'posthaste relay --url postgres://localhost/shop',
        json: '{"version":1,"time","level","event",…}, one line for each event; the first is relay-started, the last relay-stopped',
      }),
    )
    .action(async (options) => {
      const logger = loggerOf({ json: options.json ?? false, verbose: options.verbose ?? false })
      await withPosthaste(
        { ...options, applicationName: 'posthaste relay', logger, endless: true },
        async ({ posthaste, settings, target: { host, port, database } }) => {
          const stopped = stopSignal()
          const healthPort = settings.healthPort.value
          await using _probes = healthPort === undefined ? undefined : await probes(posthaste, healthPort)
          await posthaste.start({ relay: true, consumers: false })
          logger.info({ event: 'relay-started', host, port, database, pid: process.pid, healthPort }, 'relay started')
          const signal = await stopped
          logger.info({ event: 'relay-stopping', signal }, 'relay stopping')
          await posthaste.stop()
          logger.info({ event: 'relay-stopped' }, 'relay stopped')
        },
      )
    })
}

async function probes(posthaste: Posthaste<unknown>, port: number): Promise<AsyncDisposable> {
  const { answerProbes } = await import('./health.ts')
  return await answerProbes(posthaste, port)
}

/** The first signal; the second ends the process. */
function stopSignal(): Promise<NodeJS.Signals> {
  const { promise, resolve } = Promise.withResolvers<NodeJS.Signals>()
  let first = true
  const heard = (signal: NodeJS.Signals) => {
    if (!first) process.exit(1)
    first = false
    resolve(signal)
  }
  process.on('SIGINT', heard).on('SIGTERM', heard)
  return promise
}

function loggerOf({ json, verbose }: { readonly json: boolean; readonly verbose: boolean }): Logger {
  const least = verbose ? 0 : 1
  const line = json ? jsonEvent : prettyEvent
  const at = (level: Level) => (fields: object) => {
    if (LEVELS.indexOf(level) >= least) print(line(level, fields))
  }
  return { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') }
}

function jsonEvent(level: Level, fields: object): string {
  return jsonLine({ time: new Date().toISOString(), level, ...fields })
}

function prettyEvent(level: Level, { event, ...facts }: { readonly event?: string }): string {
  const time = styleText('dim', new Date().toISOString().slice(11, 23), { stream: process.stdout })
  const told = Object.entries(facts)
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => `${name}=${factText(value)}`)
  return `${time} ${coloured(level)} ${[event, harmless(told.join(' '))].join(' ').trim()}`
}

function factText(fact: unknown): string {
  if (typeof fact === 'number') return String(Math.round(fact * 10) / 10)
  return typeof fact === 'string' ? fact : JSON.stringify(fact)
}

function coloured(level: Level): string {
  const colour = ({ debug: 'dim', info: 'green', warn: 'yellow', error: 'red' } as const)[level]
  return styleText(colour, level.padEnd(5), { stream: process.stdout })
}
