import { type EffectBodies, effectBodies } from './effect-bodies.ts'
import { milliseconds, parseOptions, passedThrough, shape, wholeNumber } from './options.ts'
import type { Topology } from './topology.ts'

/** What `posthaste.config.ts` exports by default. All of it is optional; options and environment variables win over it. */
export interface Config {
  /** Connection string of the database. @default DATABASE_URL, or the PG* variables */
  readonly url?: string | undefined
  /** A direct connection string for the relay, when `url` goes through a pooler such as PgBouncer. @default `url` */
  readonly listenUrl?: string | undefined
  /** The schema that holds everything. @default 'posthaste' */
  readonly schema?: string | undefined
  /** The name of the service, which owns what it declares first. @default none */
  readonly service?: string | undefined
  /** What `posthaste topology declare` declares, and `posthaste topology diff` compares. @default none */
  readonly topology?: Topology | undefined
  /** How the relay of `posthaste relay` works; as `relay` of `PosthasteOptions`. */
  readonly relay?:
    | {
        /** How long a message may wait that nobody told the relay of, in milliseconds. @default 1_000 */
        readonly pollIntervalMs?: number | undefined
        /** How many messages one transaction routes at most. @default 5_000 */
        readonly chunk?: number | undefined
      }
    | undefined
  /** How long the relay of `posthaste relay` keeps things; as `retention` of `PosthasteOptions`, and the same everywhere. */
  readonly retention?:
    | {
        /** The log, in milliseconds. @default 604_800_000 (7 days) */
        readonly outboxMs?: number | undefined
        /** Processed ids, in milliseconds. @default 691_200_000 (8 days) */
        readonly inboxMs?: number | undefined
        /** Dead letters, in milliseconds. @default 2_592_000_000 (30 days) */
        readonly deadLettersMs?: number | undefined
      }
    | undefined
  /** How `posthaste effects` opens and stores responses; as `effects` of `PosthasteOptions`, and the same everywhere. */
  readonly effects?: EffectBodies | undefined
  /** The port on which `posthaste relay` answers /live and /ready. @default none */
  readonly healthPort?: number | undefined
}

const CONFIG = shape((z) =>
  z.strictObject({
    url: z.string().optional(),
    listenUrl: z.string().optional(),
    schema: z.string().optional(),
    service: z.string().min(1).max(255).optional(),
    topology: passedThrough<Topology | undefined>().optional(),
    relay: z
      .strictObject({ pollIntervalMs: milliseconds(10).optional(), chunk: wholeNumber(1, 100_000).optional() })
      .optional(),
    retention: z
      .strictObject({
        outboxMs: milliseconds(1_000).optional(),
        inboxMs: milliseconds(1_000).optional(),
        deadLettersMs: milliseconds(1_000).optional(),
        outboxBytes: wholeNumber(1, Number.MAX_SAFE_INTEGER).optional(),
      })
      .optional(),
    effects: passedThrough<EffectBodies | undefined>().optional(),
    healthPort: wholeNumber(1, 65_535).optional(),
  }),
)

/** Checks what a configuration file says: an unknown name is refused with the nearest one that exists. */
export function parseConfig(given: unknown): Config {
  const config = parseOptions(CONFIG, given)
  if (config.effects) effectBodies(config.effects)
  return config
}

/**
 * Gives `posthaste.config.ts` its types. It is checked when it is read.
 *
 * ```ts
 * export default defineConfig({ service: 'shop', topology })
 * ```
 */
export function defineConfig(config: Config): Config {
  return config
}
