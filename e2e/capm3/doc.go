// Package capm3 has Cluster API's Metal3 provider talk to ingot: its whole
// conversation about BareMetalHosts, over HTTP, with a token that may do exactly
// what CAPM3's own role allows, against the API of the shipped `ingot serve` and
// a rack of simulated machines.
//
// CAPM3 itself is not linked. Each step is written anew after its source and
// names the function that it follows (cluster-api-provider-metal3 v1.13.2 and
// main at 2f6d76b8, cluster-api v1.14.2), so that what is sent is what CAPM3
// sends: the same merge patches, computed from before and after, never of the
// status. The kinds of Cluster API that it needs are there with open schemas.
// hack/capm3.sh runs the real managers against the same API.
package capm3
