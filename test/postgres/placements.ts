import type pg from 'pg'
import { type Bench, bench, uuid7 } from './bench.ts'
import { Brake, letInSteps, STEPS, type Step } from './steps.ts'

/** When a producer's transaction gets its number, when it inserts, and when it ends. */
export interface Placement {
  readonly xid: Step
  readonly insert: Step
  readonly end: Step
}

/** All there are: a cycle stops at eight places, and a producer's three deeds keep their order. */
export const PLACEMENTS: readonly Placement[] = STEPS.flatMap((xid, x) =>
  STEPS.slice(x).flatMap((insert, i) => STEPS.slice(x + i).map((end) => ({ xid, insert, end }))),
)

export const MANNERS = ['plain', 'in a savepoint', 'prepared', 'rolled back'] as const
export type Manner = (typeof MANNERS)[number]

interface Scene {
  readonly bench: Bench
  readonly brake: Brake
  readonly relay: pg.Client
  readonly other: pg.Client
  readonly producers: readonly { readonly manner: Manner; readonly client: pg.Client }[]
  readonly chunk: number
  /** Messages that have to be routed, and what to say of one that was not. */
  readonly expected: Map<string, string>
}

/** Plays each placement by itself, the producers of all manners side by side, and tells what went wrong. */
export async function play(
  placements: readonly Placement[],
  manners: readonly Manner[],
  { chunk = 1_000, cursor = async (_: pg.Pool): Promise<void> => {} } = {},
): Promise<{ lost: string[]; repeated: string[]; phantoms: string[] }> {
  const b = await bench({ alone: true })
  await cursor(b.pool)
  await letInSteps(b.pool)
  const [relay, other, brakeman] = await Promise.all([b.connect(), b.connect(), b.connect()])
  const producers = await Promise.all(manners.map(async (manner) => ({ manner, client: await b.connect() })))
  const { rows } = await relay.query('select pg_backend_pid() as pid')
  const brake = new Brake(brakeman, rows[0].pid)
  const scene: Scene = { bench: b, brake, relay, other, producers, chunk, expected: new Map() }
  for (const placement of placements) await enact(scene, placement)
  return compare(await b.ids(), scene.expected)
}

/** One cycle, held at each step where a producer does something; then cycles until all is routed. */
async function enact(scene: Scene, placement: Placement): Promise<void> {
  const { bench: b, brake, relay, chunk } = scene
  const steps = STEPS.filter((step) => Object.values(placement).includes(step))
  const inside = steps.filter((step) => step !== 'held' && step !== 'committed')
  const act = actor(scene, placement)
  await brake.on(inside)
  await relay.query('begin')
  const cycled = b.cycle({ chunk, on: relay })
  cycled.catch(() => {})
  for (const step of inside) {
    await brake.reached(step)
    await act(step)
    await brake.off(step)
  }
  await cycled
  if (steps.includes('held')) await act('held')
  await relay.query('commit')
  if (steps.includes('committed')) await act('committed')
  await b.drain(chunk)
}

function actor(scene: Scene, placement: Placement): (step: Step) => Promise<void> {
  const told = `${placement.xid} / ${placement.insert} / ${placement.end}`
  const deeds = scene.producers.map(({ manner, client }) => deedsOf(scene, client, manner, `${manner}: ${told}`))
  return async (step) => {
    for (const deed of ['xid', 'insert', 'end'] as const) {
      if (placement[deed] === step) await Promise.all(deeds.map((each) => each[deed]()))
    }
    // Somebody else's message with a higher id, committed at once: what a cursor might be led past by.
    const [id] = await scene.bench.publish(scene.other, { type: 'bystander' })
    scene.expected.set(id!, `bystander: ${told}`)
  }
}

function deedsOf({ bench: b, other, expected }: Scene, client: pg.Client, manner: Manner, told: string) {
  const id = uuid7()
  return {
    xid: () => client.query('begin; set local posthaste.wake = off; select pg_current_xact_id()'),
    insert: async () => {
      if (manner === 'in a savepoint') await client.query('savepoint inner_one')
      await b.publish(client, { id })
      if (manner === 'in a savepoint') await client.query('release inner_one')
      if (manner === 'prepared') await client.query(`prepare transaction '${id}'`)
    },
    end: async () => {
      if (manner === 'prepared') await other.query(`commit prepared '${id}'`)
      else await client.query(manner === 'rolled back' ? 'rollback' : 'commit')
      if (manner !== 'rolled back') expected.set(id, told)
    },
  }
}

function compare(routed: readonly string[], expected: ReadonlyMap<string, string>) {
  const times = new Map<string, number>()
  for (const id of routed) times.set(id, (times.get(id) ?? 0) + 1)
  return {
    lost: [...expected].filter(([id]) => !times.has(id)).map(([, told]) => told),
    repeated: [...expected].filter(([id]) => (times.get(id) ?? 0) > 1).map(([, told]) => told),
    phantoms: routed.filter((id) => !expected.has(id)),
  }
}
