import { DataTypes, Sequelize, type Transaction } from 'sequelize'
import type { Subject } from '../subject.ts'

export const subject: Subject<Transaction> = {
  name: 'Sequelize',
  async open(url) {
    const sequelize = new Sequelize(url, { logging: false })
    const Order = sequelize.define(
      'Order',
      { id: { type: DataTypes.TEXT, primaryKey: true } },
      { tableName: 'orders', timestamps: false },
    )
    return {
      transaction: (work) => sequelize.transaction(work),
      insert: (transaction, id) => Order.create({ id }, { transaction }),
      fail: (transaction) => sequelize.query('select 1 / 0', { transaction }),
      pools: [[sequelize, 'sequelize.transaction(']],
      [Symbol.asyncDispose]: () => sequelize.close(),
    }
  },
}
