import { Logger, run, runMigrations, type TaskList, type WorkerUtilsOptions } from 'graphile-worker'
import { type Order, type Peer, type Routes, versionOf } from '../stand/peer.ts'

// Of the page "Performance" of its documentation: 24 jobs at once, local queue of 500, completion in batches at once.
const JOBS = 24
const LOCAL_QUEUE = 500
const silent = new Logger(() => () => {})

// What its addJob and addJobs say, in the caller's transaction, prepared.
const ADD_JOB = {
  name: 'graphile_add_job',
  text: 'select from graphile_worker.add_job(identifier => $1::text, payload => $2::json, run_at => $3::timestamptz)',
}
const ADD_JOBS = {
  name: 'graphile_add_jobs',
  text: `select from graphile_worker.add_jobs(array(
    select json_populate_recordset(null::graphile_worker.job_spec, $1::json)))`,
}

export const peer: Peer = {
  name: 'graphile-worker',
  version: versionOf('graphile-worker'),
  settings: {
    publish: 'graphile_worker.add_job(…) and add_jobs(…) in the transaction, prepared',
    consume: `run({ concurrentJobs: max(${JOBS}, connections), maxPoolSize: connections, localQueue: { size: ${LOCAL_QUEUE} }, completeJobBatchDelay: 0, failJobBatchDelay: 0 })`,
    effect: 'an insert through helpers.withPgClient, committed by itself; the job is completed after it',
    fanOut: 'no queues to bind: add_jobs with one job for each, written by the publisher',
  },
  effect: 'at least once',
  cannot: { silent: 'add_job notifies in every transaction, and nothing turns it off' },
  async install(url) {
    await runMigrations({ connectionString: url, logger: silent } as WorkerUtilsOptions)
  },
  async publisher(_url, { routes }) {
    return {
      async publish(client, topic, order, options) {
        const [queue, ...others] = routes[topic]!
        const runAt = options?.delayMs ? new Date(Date.now() + options.delayMs) : null
        if (others.length > 0) await client.query({ ...ADD_JOBS, values: [specsOf(routes, topic, [order])] })
        else await client.query({ ...ADD_JOB, values: [queue!, JSON.stringify(order), runAt] })
      },
      async publishAll(client, topic, orders) {
        await client.query({ ...ADD_JOBS, values: [specsOf(routes, topic, orders)] })
      },
      async close() {},
    }
  },
  async work(url, { queues, connections }, handle) {
    const taskList: TaskList = Object.fromEntries(
      queues.map((queue) => [
        queue,
        async (payload, { withPgClient }) => {
          await handle(
            payload as Order,
            (statement, values) => withPgClient((client) => client.query({ ...statement, values: [...values] })),
            queue,
          )
        },
      ]),
    )
    const runner = await run({
      preset: {
        worker: {
          connectionString: url,
          concurrentJobs: Math.max(JOBS, connections),
          maxPoolSize: Math.max(2, connections),
          localQueue: { size: LOCAL_QUEUE },
          completeJobBatchDelay: 0,
          failJobBatchDelay: 0,
          logger: silent,
        },
      },
      taskList,
      noHandleSignals: true,
    })
    runner.promise.catch(() => {})
    return { stop: () => runner.stop() }
  },
}

function specsOf(routes: Routes, topic: string, orders: readonly Order[]): string {
  return JSON.stringify(routes[topic]!.flatMap((identifier) => orders.map((payload) => ({ identifier, payload }))))
}
