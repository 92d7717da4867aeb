// A relay in a process of its own, to be killed or stopped: node test/relay/child.ts <url> <options as JSON>. Prints its events.
import { randomUUID } from 'node:crypto'
import pg from 'pg'
import type { Context } from '../../src/context.ts'
import { pgDatabase } from '../../src/databases/pg.ts'
import { EventBus } from '../../src/events.ts'
import { Listener } from '../../src/postgres/listener.ts'
import { tablesOf } from '../../src/postgres/tables.ts'
import { Relay } from '../../src/relay.ts'

const [url, options] = process.argv.slice(2)
const database = pgDatabase(new pg.Pool({ connectionString: url, max: 3 }))
const events = new EventBus()
const instance = randomUUID()
const listener = new Listener({ database, events, instance })
const context: Context<pg.PoolClient> = { database, tables: tablesOf('posthaste'), events, listener, instance }
events.onAny((name) => void process.stdout.write(`${name}\n`))
listener.start()
await new Relay(context as unknown as Context, JSON.parse(options ?? '{}')).start()
