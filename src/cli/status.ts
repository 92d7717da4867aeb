import type { Paused, Status } from '../index.ts'
import { databaseCommand, told } from './command.ts'
import { withPosthaste } from './open.ts'
import { cut, dim, print, printHeading, printJson, printTable, span } from './output.ts'

export function statusCommand() {
  return databaseCommand('status')
    .description('How queues, relay and partitions stand.')
    .argument('[queue]', 'only this queue')
    .addHelpText(
      'after',
      told({
        example: 'posthaste status billing --json',
        json: `{"version":1,
   "schema":{"name","migrations":[…]},
   "relay":{"onDuty","pid","application","standingBy","tick","routedAt","unrouted","lagMs"},
   "queues":[{"queue","kind","depth","ready","scheduled","leased","dead","paused":{"source","until","reason","by"},"oldestMs",
              "rates":{"routed","completed","retried","dead","overMs"},
              "flow":{…}}],
   "effects":{"unknown","needsReview","overdue","unrecorded","contradicted","oldestMs"},
   "groups":[{"stream","group","members","lag","lagCounted","lagMs","parked","parkedKeys","heldKeys","replaying",
              "paused":{"until","reason","by"},"madeAt","movedAt"}],
   "partitions":[{"name","from","to","madeAt","emptiedAt"}]}    rates are per second`,
      }),
    )
    .action(async (queue, options) => {
      const status = await withPosthaste({ ...options, applicationName: 'posthaste status' }, async ({ posthaste }) => {
        const whole = await posthaste.status()
        return queue === undefined ? whole : { ...whole, queues: [await posthaste.queue(queue).status()] }
      })
      if (options.json) printJson(status)
      else await show(status)
    })
}

async function show({ schema, relay, queues, groups, effects, partitions }: Status): Promise<void> {
  await printTable(
    ['queue', 'depth', 'ready', 'scheduled', 'leased', 'dead', 'oldest', 'in/s', 'done/s', 'retried/s', 'paused'],
    queues.map(({ queue, depth, ready, scheduled, leased, dead, oldestMs, rates, paused }) => [
      queue,
      depth,
      ready,
      scheduled,
      leased,
      dead,
      span(oldestMs),
      rates.routed,
      rates.completed,
      rates.retried,
      paused && pausedBy(paused),
    ]),
    'No queues are declared',
  )
  const ruled = queues.filter(({ flow }) => Object.keys(flow).length > 0)
  if (ruled.length > 0) printHeading('flow')
  for (const { queue, flow } of ruled) print(`${queue}: ${rulesOf(flow)}`)
  if (groups.length > 0) await showGroups(groups)
  printHeading('relay')
  print(`${duty(relay)}; ${backlog(relay)}`)
  print(`routed up to tick ${relay.tick} at ${relay.routedAt.toISOString()}`)
  const wanting = wantsOf(effects)
  if (wanting !== undefined) {
    printHeading('effects')
    print(`${wanting}: posthaste effects list`)
  }
  printHeading('log')
  const emptied = partitions.filter(({ emptiedAt }) => emptiedAt !== null).length
  print(`${partitions.length} partitions, ${emptied} of them emptied`)
  print(dim(`schema ${schema.name}, ${schema.migrations.at(-1) ?? 'no migrations'}`))
}

async function showGroups(groups: Status['groups']): Promise<void> {
  printHeading('groups')
  await printTable(
    ['stream', 'group', 'processes', 'lag', 'oldest unread', 'parked', 'keys', 'held', 'state'],
    groups.map(
      ({ stream, group, members, lag, lagCounted, lagMs, parked, parkedKeys, heldKeys, replaying, paused }) => [
        stream,
        group,
        members,
        lagCounted ? lag : `about ${lag}`,
        span(lagMs),
        parked,
        parkedKeys,
        heldKeys,
        paused ? 'paused' : replaying ? 'replaying' : '',
      ],
    ),
    'No groups read',
  )
}

function rulesOf(flow: object): string {
  return Object.entries(flow)
    .map(([rule, value]) => `${rule} ${typeof value === 'object' ? JSON.stringify(value) : value}`)
    .join(', ')
}

function pausedBy({ source, until, reason, by }: Paused): string {
  const who = source === 'operator' && by ? by : source
  return cut([`by ${who}`, until && `until ${until.toISOString()}`, reason].filter(Boolean).join(', '), 80)
}

function duty({ onDuty, pid, application, standingBy }: Status['relay']): string {
  if (!onDuty) return 'none is on duty: run posthaste relay (one behind a pooler polls, and is not seen here)'
  return `on duty: ${application ?? 'a relay'}, server process ${pid}; ${standingBy} standing by`
}

/** What of the effect ledger wants somebody; undefined when nothing does. */
function wantsOf({ oldestMs, needsReview, ...counts }: Status['effects']): string | undefined {
  if (oldestMs === null) return undefined
  const told = Object.entries({ 'in review': needsReview, ...counts }).filter(([, count]) => count > 0)
  return `${told.map(([want, count]) => `${count} ${want}`).join(', ')}, the oldest unchanged for ${span(oldestMs)}`
}

function backlog({ unrouted, lagMs }: Status['relay']): string {
  if (unrouted === null) return 'the log comes from another cluster and waits for a relay'
  if (unrouted === 0) return 'everything is routed'
  return `${unrouted >= 10_000 ? '10,000 or more' : unrouted} messages to route, the oldest for ${span(lagMs)}`
}
