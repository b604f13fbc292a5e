// Package treebmc is a Redfish service made of a recorded tree of resources: one
// folder per URI with an index.json in it, as DMTF's mockups and captures of real
// BMCs come. To what the tree shows it adds what a BMC does: sessions with a
// limit, ETags, tasks, power, virtual media, settings that wait for a reset,
// accounts, subscriptions, volumes, logs and firmware updates; and each way to
// misbehave that pkg/bmc/quirk names, as a switch.
//
//	tree, err := treebmc.Mockup("hpe-dl360-gen12-ilo7")
//	bmc, err := treebmc.New(tree, treebmc.Options{
//		Username: "admin", Password: "secret",
//		Quirks: quirk.Set{quirk.EjectEmptyObject: true},
//	})
//	server := httptest.NewServer(bmc)
//
// The tree proves what a vendor's resources look like. What the service does with
// them is ours, by DSP0266 and DSP0268, and proves nothing of that vendor's
// firmware: where a switch has evidence, its comment quotes it; the others say
// "unverified". There are no clocks: a power change or a task takes a number of
// reads, so that a test says how long and no test waits.
package treebmc
