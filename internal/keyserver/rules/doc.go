// SPDX-License-Identifier: Apache-2.0

// Package rules decides one item for the choke point: purely, from what one state
// of the authority log says.
//
//   - [Look] takes the [Facts] of a request out of the state in one go.
//   - [Facts.Barred] says whether the caller gets nothing at all.
//   - [Facts.Rule] decides on one item: policy first, then the state of the key, so
//     that this is told only to who may use the key.
//   - [Facts.Leaf] words the decision for the audit log.
//   - [Usable], [Fits] and [OperationsOf] are what algorithms and versions allow.
//   - [Clip] fits a text into a leaf.
//
// It writes nothing, derives nothing and waits for nothing: the choke point does,
// in its order.
//
// Security: a key that isn't there is decided like one that is, so that who may not
// use either learns nothing from the answer.
package rules
